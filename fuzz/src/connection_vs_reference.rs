//! A connection against the slow and obvious decoder: the same events, the same answers, the same
//! status code, however the bytes are cut.

use fanfare::protocol::CloseFrame;

use super::heard::{Heard, OUR_CLOSE};
use super::plan::{Cuts, Plan};
use super::reference::{End, Reference};

/// Hears a stream by both.
pub fn run(bytes: &[u8]) {
    let plan = Plan::new(bytes);
    let limits = (plan.limits.max_message_size, plan.limits.max_fragments());
    let mut our_close = Vec::new();
    CloseFrame::encode(Some(OUR_CLOSE.0), OUR_CLOSE.1, &mut our_close);
    let close = plan.close_at.map(|at| (at, &our_close[..]));
    let mut reference = Reference::new(&plan.bytes, limits, close);
    let failed_with = match reference.hear() {
        End::Failed(code) => Some(code),
        End::Starved | End::Closed => None,
    };
    for cuts in [&Cuts::WHOLE, &plan.cuts] {
        let heard = Heard::new(&plan, cuts);
        let code = heard.error.map(|error| error.close_code().to_wire());
        let mut output = reference.output.clone();
        if let (Some(error), false) = (heard.error, reference.is_closing) {
            // The text of the reason is ours to choose.
            CloseFrame::encode(Some(error.close_code()), error.reason(), &mut output);
        }
        assert_eq!(heard.said, reference.said, "events, {cuts:?}");
        assert_eq!(code, failed_with, "status code, {cuts:?}");
        assert_eq!(heard.output, output, "answers, {cuts:?}");
    }
}
