//! A hundred short sequences of faults that a seed decides.

use std::sync::Mutex;
use std::time::Duration;

use crate::pass;
use crate::proxy::Way;
use crate::stage::{Mode, Plan, Stage, modes};

/// How many, unless `FANFARE_REDIS_SEEDS` says otherwise.
const SEEDS: u64 = 100;

/// How many run at the same time: most of the time they wait.
const WORKERS: usize = 8;

/// Faults of one sequence at most.
const MAX_FAULTS: usize = 4;

/// `SplitMix64` (Steele, Lea, Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let number = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        number ^ (number >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("it is below a usize")
    }

    fn millis(&mut self, from: usize, to: usize) -> Duration {
        let millis = from + self.below(to - from);
        Duration::from_millis(u64::try_from(millis).expect("it is small"))
    }
}

/// The seeds to run: `FANFARE_REDIS_SEEDS=500`, or `=17..18` for one alone.
fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("FANFARE_REDIS_SEEDS") else {
        return 0..SEEDS;
    };
    let number = |text: &str| {
        let number = text.parse::<u64>();
        number.unwrap_or_else(|_| panic!("FANFARE_REDIS_SEEDS={text} is no number"))
    };
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => 0..number(&text),
    }
}

/// Does something, for a time, and ends it.
fn fault(stage: &mut Stage, random: &mut Random) -> String {
    let time = random.millis(50, 1500);
    let node = random.below(stage.nodes.len());
    let is_all = random.below(3) == 0;
    let proxies = || {
        stage
            .proxies
            .iter()
            .enumerate()
            .filter(|(index, _)| is_all || *index == node)
    };
    let whom = if is_all {
        "all".to_owned()
    } else {
        format!("server {node}")
    };
    match random.below(8) {
        0 => {
            stage.redis.kill();
            pass(time);
            stage.redis.restart();
            format!("Redis killed for {time:?}")
        }
        1 => {
            stage.redis.stop();
            pass(time);
            stage.redis.go_on();
            format!("Redis stopped for {time:?}")
        }
        2 => {
            proxies().for_each(|(_, proxy)| proxy.cut());
            pass(time);
            proxies().for_each(|(_, proxy)| proxy.mend());
            format!("{whom} cut for {time:?}")
        }
        kind @ 3..=5 => {
            let way = Way::Hole;
            proxies().for_each(|(_, proxy)| match kind {
                3 => proxy.both_ways(way),
                4 => proxy.upwards(way),
                _ => proxy.downwards(way),
            });
            // Long enough that a new connection is made now and then.
            let time = 3 * time;
            pass(time);
            proxies().for_each(|(_, proxy)| proxy.mend());
            let which = ["both ways", "up", "down"][kind - 3];
            format!("{whom} in a hole, {which}, for {time:?}")
        }
        6 => {
            let kind = ["pubsub", "normal"][random.below(2)];
            stage.redis.tell(&format!("CLIENT KILL TYPE {kind}"));
            format!("CLIENT KILL TYPE {kind}")
        }
        _ => {
            let millis = time.as_millis();
            stage.redis.tell(&format!("CLIENT PAUSE {millis} ALL"));
            format!("CLIENT PAUSE {millis}")
        }
    }
}

/// One sequence, in the mode that the seed decides. What it did is in `story`.
fn run(seed: u64, modes: &[Mode], story: &Mutex<Vec<String>>) {
    let mut random = Random(seed);
    let mode = modes[random.below(modes.len())];
    let flags: &[&str] = match random.below(3) {
        0 => &["--redis-delivery", "local"],
        _ => &[],
    };
    let mut stage = Stage::start(Plan {
        nodes: 2 + random.below(2),
        flags: flags.to_vec(),
        pace: Duration::from_millis(10),
        ..Plan::new(mode)
    });
    let tell = |line: String| story.lock().expect("nobody panics with it").push(line);
    tell(format!("{mode:?} {flags:?}, {} servers", stage.nodes.len()));
    for _ in 0..=random.below(MAX_FAULTS) {
        let done = fault(&mut stage, &mut random);
        tell(done);
        pass(random.millis(0, 1000));
    }
    stage.stream_loses_nothing();
}

#[test]
#[ignore = "a hundred sequences of faults: run by ./test redis"]
fn sequences_of_faults() {
    let (seeds, modes) = (seeds(), modes());
    println!("seeds {seeds:?}");
    let (next, failed) = (Mutex::new(seeds), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let Some(seed) = next.lock().expect("nobody panics with it").next() else {
                return;
            };
            let story = Mutex::new(Vec::new());
            let done = std::thread::scope(|scope| {
                let run = std::thread::Builder::new()
                    .name(format!("seed {seed}"))
                    .spawn_scoped(scope, || run(seed, &modes, &story));
                run.expect("a free thread").join()
            });
            if done.is_err() {
                let story = story.lock().expect("nobody panics with it").join("; ");
                println!("FANFARE_REDIS_SEEDS={seed}..{}: {story}", seed + 1);
                failed.lock().expect("nobody panics with it").push(seed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().expect("nobody panics with it");
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
}
