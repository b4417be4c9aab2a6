//! However the bytes are cut, the events and the answers are the same.

use super::heard::Heard;
use super::plan::{Cuts, Plan};

/// Hears a stream whole, byte by byte and in the input's own pieces.
pub fn run(bytes: &[u8]) {
    let plan = Plan::new(bytes);
    let whole = Heard::new(&plan, &Cuts::WHOLE);
    assert_eq!(
        Heard::new(&plan, &plan.cuts),
        whole,
        "cut at {:?}",
        plan.cuts
    );
    assert_eq!(
        Heard::new(&plan, &Cuts::bytewise()),
        whole,
        "cut behind every byte"
    );
}
