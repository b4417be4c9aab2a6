//! The books of the kernel: what a process has used, and what others have.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use rustix::time::{ClockId, clock_gettime};

/// Ticks a second in /proc, whatever the kernel's own are.
const TICKS: u64 = 100;
const TICK_NS: u64 = 1_000_000_000 / TICKS;

/// What the server, the load generator and the machine have used up to one moment.
#[derive(Clone, Debug)]
pub struct Usage {
    /// Nanoseconds of CPU by thread of the server.
    threads: BTreeMap<u32, u64>,
    user_ticks: u64,
    system_ticks: u64,
    voluntary: u64,
    involuntary: u64,
    own_ns: u64,
    busy_ticks: u64,
    all_ticks: u64,
}

/// What was used between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// The server's CPU time, of all its threads.
    pub cpu_ns: u64,
    /// The part of it outside the kernel.
    pub user_ns: u64,
    /// The part of it in the kernel.
    pub system_ns: u64,
    /// The load generator's own CPU time.
    pub load_cpu_ns: u64,
    /// What the rest of the machine took, in per cent of all CPUs.
    pub others_percent: f64,
    /// How often the server waited.
    pub voluntary: u64,
    /// How often the server was made to wait.
    pub involuntary: u64,
}

/// The memory of the server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Resident.
    pub rss_kib: u64,
    /// The most that was ever resident.
    pub peak_kib: u64,
    /// Resident, what is shared counted by its share.
    pub pss_kib: u64,
}

impl Usage {
    /// Reads the books of a server, or of several as if they were one.
    pub fn read(pids: &[u32]) -> io::Result<Self> {
        let machine = fs::read_to_string("/proc/stat")?;
        // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
        let ticks: Vec<u64> = (1..=8).map(|place| word(&machine, place)).collect();
        let all_ticks = ticks.iter().sum();
        let own = clock_gettime(ClockId::ProcessCPUTime);
        let mut usage = Self {
            threads: BTreeMap::new(),
            user_ticks: 0,
            system_ticks: 0,
            voluntary: 0,
            involuntary: 0,
            own_ns: own.tv_sec.unsigned_abs() * 1_000_000_000 + own.tv_nsec.unsigned_abs(),
            busy_ticks: all_ticks - ticks[3] - ticks[4],
            all_ticks,
        };
        for pid in pids {
            usage.add(*pid)?;
        }
        Ok(usage)
    }

    /// Adds what stands in the books of one process.
    fn add(&mut self, pid: u32) -> io::Result<()> {
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let path = entry?.path();
            // A thread may end at any time.
            let (Ok(schedstat), Ok(status)) = (
                fs::read_to_string(path.join("schedstat")),
                fs::read_to_string(path.join("status")),
            ) else {
                continue;
            };
            let id = path.file_name().and_then(|name| name.to_str());
            let id = id.and_then(|id| id.parse().ok()).unwrap_or_default();
            self.threads.insert(id, word(&schedstat, 0));
            self.voluntary += field(&status, "voluntary_ctxt_switches:");
            self.involuntary += field(&status, "nonvoluntary_ctxt_switches:");
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field is the name in brackets, which may hold blanks.
        let stat = stat.rsplit(')').next().unwrap_or_default();
        self.user_ticks += word(stat, 11);
        self.system_ticks += word(stat, 12);
        Ok(())
    }

    /// What was used since an earlier moment.
    pub fn since(&self, before: &Self) -> Used {
        let user_ticks = self.user_ticks.saturating_sub(before.user_ticks);
        let system_ticks = self.system_ticks.saturating_sub(before.system_ticks);
        let mut cpu_ns = 0;
        for (id, ns) in &self.threads {
            cpu_ns += ns - before.threads.get(id).copied().unwrap_or_default().min(*ns);
        }
        // What a thread has used that is gone stands in the process's ticks alone.
        let is_whole = before
            .threads
            .keys()
            .all(|id| self.threads.contains_key(id));
        if !is_whole {
            cpu_ns = cpu_ns.max((user_ticks + system_ticks) * TICK_NS);
        }
        let share = match user_ticks + system_ticks {
            0 => 0.0,
            ticks => user_ticks as f64 / ticks as f64,
        };
        let user_ns = scale(cpu_ns, share);
        let load_cpu_ns = self.own_ns - before.own_ns;
        let busy = (self.busy_ticks.saturating_sub(before.busy_ticks) * TICK_NS) as f64;
        let all = (self.all_ticks.saturating_sub(before.all_ticks) * TICK_NS) as f64;
        let others = (busy - cpu_ns as f64 - load_cpu_ns as f64).max(0.0);
        Used {
            cpu_ns,
            user_ns,
            system_ns: cpu_ns - user_ns,
            load_cpu_ns,
            others_percent: if all > 0.0 { 100.0 * others / all } else { 0.0 },
            voluntary: self.voluntary.saturating_sub(before.voluntary),
            involuntary: self.involuntary.saturating_sub(before.involuntary),
        }
    }
}

impl Memory {
    /// Reads the books of a server, or adds up those of several.
    pub fn read(pids: &[u32]) -> io::Result<Self> {
        let mut memory = Self::default();
        for pid in pids {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            memory.rss_kib += field(&status, "VmRSS:");
            memory.peak_kib += field(&status, "VmHWM:");
            memory.pss_kib += field(&rollup, "Pss:");
        }
        Ok(memory)
    }
}

/// The number at a place among words.
fn word(text: &str, place: usize) -> u64 {
    let word = text.split_ascii_whitespace().nth(place);
    word.and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// The number in the line that starts with a name.
fn field(text: &str, name: &str) -> u64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(name));
    word(rest.unwrap_or_default(), 0)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a number is no larger, and not negative"
)]
fn scale(number: u64, share: f64) -> u64 {
    ((number as f64 * share) as u64).min(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(threads: &[(u32, u64)], ticks: [u64; 4]) -> Usage {
        Usage {
            threads: threads.iter().copied().collect(),
            user_ticks: ticks[0],
            system_ticks: ticks[1],
            voluntary: 0,
            involuntary: 0,
            own_ns: 0,
            busy_ticks: ticks[2],
            all_ticks: ticks[3],
        }
    }

    #[test]
    fn all_threads_count_and_are_split_as_the_ticks_are() {
        let before = usage(&[(1, 1_000), (2, 500)], [10, 10, 100, 1000]);
        let after = usage(&[(1, 3_000), (2, 500), (3, 40)], [11, 13, 150, 1100]);
        let used = after.since(&before);
        assert_eq!(
            (used.cpu_ns, used.user_ns, used.system_ns),
            (2_040, 510, 1_530)
        );
        // 50 of 100 ticks, less next to nothing.
        assert!((49.9..=50.0).contains(&used.others_percent));
    }

    #[test]
    fn what_a_thread_used_that_is_gone_is_taken_from_the_ticks() {
        let before = usage(&[(1, 1_000), (2, 500)], [10, 10, 0, 0]);
        let after = usage(&[(1, 3_000)], [11, 13, 0, 0]);
        assert_eq!(after.since(&before).cpu_ns, 4 * TICK_NS);
    }

    #[test]
    fn work_is_seen_in_the_books() {
        let pid = [std::process::id()];
        let before = Usage::read(&pid).unwrap();
        let mut number = 1_u64;
        while Usage::read(&pid).unwrap().since(&before).load_cpu_ns < 50_000_000 {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
        let used = Usage::read(&pid).unwrap().since(&before);
        assert!(used.cpu_ns > 30_000_000, "{used:?}");
        assert_eq!(used.user_ns + used.system_ns, used.cpu_ns);
        let memory = Memory::read(&pid).unwrap();
        assert!(memory.rss_kib > 0 && memory.pss_kib > 0);
        assert!(memory.peak_kib >= memory.rss_kib);
        let twice = Memory::read(&[pid[0]; 2]).unwrap();
        assert!(twice.rss_kib > memory.rss_kib);
    }
}
