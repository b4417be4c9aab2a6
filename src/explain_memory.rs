//! What `--explain-memory` prints: how much memory the settings allow at worst.

use std::fmt::Write;

use fanfare::{MemoryPart, MemoryScope, ServerConfig};

/// A table of all parts, those of a client and of a room added up, and what they come to.
pub(crate) fn table(config: &ServerConfig) -> String {
    let parts = config.worst_case_memory();
    let mut table = String::from(HEAD);
    for (scope, title) in [
        (MemoryScope::Client, "each client"),
        (MemoryScope::Room, "each room"),
        (MemoryScope::Server, "the server"),
    ] {
        let mut all: Option<MemoryPart> = None;
        for part in parts.iter().filter(|part| part.scope == scope) {
            line(&mut table, &format!("  {}", part.what), part);
            let sum = all.get_or_insert(MemoryPart::new(scope, title, 0, part.count));
            sum.bytes_each = sum.bytes_each.saturating_add(part.bytes_each);
        }
        if let Some(all) = all {
            line(&mut table, title, &all);
        }
    }
    let total = total(&parts);
    writeln!(table, "{:70}{total:>20}", "total").expect("a String takes everything");
    writeln!(table, "\nThat is {}.", readable(total)).expect("a String takes everything");
    table
}

fn total(parts: &[MemoryPart]) -> usize {
    let bytes = parts.iter().map(MemoryPart::bytes);
    bytes.fold(0, usize::saturating_add)
}

fn line(table: &mut String, what: &str, part: &MemoryPart) {
    let (each, count, bytes) = (part.bytes_each, part.count, part.bytes());
    writeln!(table, "{what:40}{each:>20}{count:>10}{bytes:>20}")
        .expect("a String takes everything");
}

/// A number of bytes in the unit that suits it, rounded up.
fn readable(bytes: usize) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fitting = units.iter().find(|(bits, _)| bytes >> bits >= 10);
    fitting.map_or_else(
        || format!("{bytes} bytes"),
        |(bits, unit)| format!("{} {unit}", bytes.div_ceil(1 << bits)),
    )
}

const HEAD: &str = "\
The most memory that these settings allow, in bytes: if all clients do what costs the most, all at
once. Buffers count with the room that they have left. Not in there: what the kernel holds for
sockets, the program itself, and the log's queue.

                                                  each     count               bytes
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_that_of_the_table() {
        let config = ServerConfig::default();
        let table = table(&config);
        let last = |line: &str| line.split_whitespace().last()?.parse::<usize>().ok();
        let sums = ["each client", "each room", "the server"].map(|title| {
            let line = table.lines().find(|line| line.starts_with(title));
            line.and_then(last).unwrap()
        });
        let lines = table
            .lines()
            .filter(|line| line.starts_with("  "))
            .filter_map(last);
        let total = table.lines().find(|line| line.starts_with("total"));
        let total = total.and_then(last).unwrap();
        assert_eq!(sums.iter().sum::<usize>(), total);
        assert_eq!(lines.sum::<usize>(), total);
        assert_eq!(self::total(&config.worst_case_memory()), total);
        assert!(table.lines().all(|line| line.len() <= 100));
    }

    #[test]
    fn bytes_are_shown_in_a_unit_that_suits_them() {
        assert_eq!(readable(10_239), "10239 bytes");
        assert_eq!(readable(10_240), "10 KiB");
        assert_eq!(readable((10 << 20) + 1), "11 MiB");
        assert_eq!(readable(10 << 30), "10 GiB");
    }
}
