//! The `load` binary: command line in, report and exit code out.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use load::failure::Failure;
use load::options::{self, Options};
use load::report::Report;
use load::scenario;

/// Descriptors that are asked for; the hard limit may be less.
const DESCRIPTORS: u64 = 1 << 20;

fn main() -> ExitCode {
    let options = match options::parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            let _ = std::io::stdout().write_all(options::HELP.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("load: {error}");
            return ExitCode::from(2);
        }
    };
    // Whether there are enough is seen when they are used up.
    let _ = rlimit::increase_nofile_limit(DESCRIPTORS);
    let done = scenario::run(&options).and_then(|report| write(&options, &report));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("load: {}: {failure}", options.scenario.name());
            ExitCode::FAILURE
        }
    }
}

fn write(options: &Options, report: &Report) -> Result<(), Failure> {
    let to_stdout = |text: String| std::io::stdout().write_all(text.as_bytes());
    let written = match options.json.as_deref() {
        None => to_stdout(report.text()),
        Some(file) if file == Path::new("-") => to_stdout(report.json()),
        Some(file) => std::fs::write(file, report.json()).and_then(|()| to_stdout(report.text())),
    };
    written.map_err(|error| Failure::of("writing the report", &error))
}
