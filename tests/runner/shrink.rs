//! From a failure to the fewest steps that fail: by leaving out whoever acts, and halves of the
//! steps, and halves of those.

use std::cell::RefCell;
use std::fmt::Write;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{panic, thread};

use super::seeds::variable;
use crate::plan::Plan;
use crate::{Tally, world};

/// Tries to shrink one failure, if `SHRINK` does not say otherwise.
const MAX_ATTEMPTS: u64 = 1500;

/// Plays a seed, a second time if `twice`.
///
/// # Errors
/// A report, if it fails or the second time differs.
pub(crate) fn play(seed: u64, steps: usize, twice: bool) -> Result<Tally, String> {
    let plan = Plan::new(seed, steps);
    let played = attempt(&plan).map_err(|failure| report(seed, &plan, &failure))?;
    if twice {
        let again = attempt(&plan).map_err(|failure| report(seed, &plan, &failure))?;
        if again.1 != played.1 {
            return Err(format!(
                "seed {seed}: the second time differs from the first"
            ));
        }
    }
    Ok(played.0)
}

/// What fails, if it does.
pub(crate) fn failure(plan: &Plan) -> Option<String> {
    attempt(plan).err()
}

/// Lets a plan happen in a thread of its own, whose books of the memory begin empty.
fn attempt(plan: &Plan) -> Result<(Tally, u64), String> {
    static QUIET: Once = Once::new();

    QUIET.call_once(keep_panics);
    let plan = plan.clone();
    let run =
        move || panic::catch_unwind(|| world::run(&plan)).map_err(|_| PANIC.with(RefCell::take));
    thread::Builder::new()
        .name(THREAD.to_owned())
        .spawn(run)
        .expect("there is room for a thread")
        .join()
        .expect("its panics are caught")
}

/// The threads of attempts.
const THREAD: &str = "world";

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Lets attempts keep what they panic with instead of printing it: to shrink is to fail often.
fn keep_panics() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if thread::current().name() == Some(THREAD) {
            let text = info.to_string();
            PANIC.set(
                text.trim_start_matches("panicked at ")
                    .replacen(":\n", ": ", 1),
            );
        } else {
            print(info);
        }
    }));
}

/// The seed, what failed, and the fewest steps that were found to fail.
pub(crate) fn report(seed: u64, plan: &Plan, failure: &str) -> String {
    let (shrunk, failure) = shrink(plan, failure);
    retell(&shrunk);
    let mut text = format!("seed {seed}: {failure}\n{:?}\n", shrunk.settings);
    for step in &shrunk.steps {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {step:?}");
    }
    text + &format!("{} of {} steps\n", shrunk.steps.len(), plan.steps.len())
}

/// Lets a plan happen once more, and prints what happens, if somebody wants to read it.
fn retell(plan: &Plan) {
    if variable("TRACE").is_some() {
        IS_TOLD.store(true, Ordering::Relaxed);
        let _ = attempt(plan);
        IS_TOLD.store(false, Ordering::Relaxed);
    }
}

/// Whether worlds print what happens in them.
pub(crate) static IS_TOLD: AtomicBool = AtomicBool::new(false);

fn shrink(plan: &Plan, failure: &str) -> (Plan, String) {
    let mut best = (plan.clone(), failure.to_owned());
    let most = variable("SHRINK").unwrap_or(MAX_ATTEMPTS);
    let mut attempts = 0;
    let mut is_smaller = |candidate: Plan, best: &mut (Plan, String)| {
        attempts += 1;
        if attempts > most || candidate.steps.len() == best.0.steps.len() {
            return false;
        }
        match attempt(&candidate) {
            Err(failure) => {
                *best = (candidate, failure);
                true
            }
            Ok(_) => false,
        }
    };
    for who in 0..plan.actors() {
        let mut candidate = best.0.clone();
        candidate.steps.retain(|step| step.actor() != Some(who));
        is_smaller(candidate, &mut best);
    }
    let mut len = best.0.steps.len() / 2;
    while len > 0 {
        let mut start = 0;
        while start < best.0.steps.len() {
            let mut candidate = best.0.clone();
            let end = (start + len).min(candidate.steps.len());
            candidate.steps.drain(start..end);
            if !is_smaller(candidate, &mut best) {
                start += len;
            }
        }
        len /= 2;
    }
    best
}
