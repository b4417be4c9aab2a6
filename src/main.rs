//! The `fanfare` binary: command line and environment in, exit code out.
//!
//! Two threads: the server's loop, and one that writes the log, so that the loop never waits for
//! whoever reads it. See `log_writer`.

mod access;
mod certificates;
mod cli;
mod config;
mod descriptors;
mod explain_memory;
mod flags;
mod healthcheck;
mod log_writer;
mod redis;
mod reload;
mod small_file;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use env_logger::Target;
use fanfare::{Broadcast, Outcome, Server};
use log::{LevelFilter, info, warn};

use crate::access::Gate;
use crate::cli::{Arguments, Command};
use crate::config::Settings;
use crate::log_writer::LogWriter;
use crate::reload::{Loaded, Service};

fn main() -> ExitCode {
    // Ends, in whatever way this function does, when the last lines are written.
    let mut log = None;
    let done = match cli::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => print(&cli::help()),
        Ok(Command::Version) => print(&cli::version()),
        Ok(Command::Token(arguments)) => access::token(arguments),
        Ok(Command::Healthcheck(arguments)) => check_health(&arguments),
        Ok(Command::Serve(arguments)) => serve(&arguments, &mut log),
        Err(error) => Err(Failure::usage(error)),
    };
    let Err(failure) = done else {
        return ExitCode::SUCCESS;
    };
    let text = format!("fanfare: {}", failure.message);
    if let Some(log) = log {
        log.end_with(&text);
    } else {
        // Not `eprintln`: that panics if nobody reads.
        let _ = io::stderr().write_all(text.as_bytes());
    }
    ExitCode::from(failure.exit_code)
}

/// Why the binary ends before it was asked to.
struct Failure {
    exit_code: u8,
    message: String,
}

impl Failure {
    fn usage(error: impl fmt::Display) -> Self {
        Self {
            exit_code: 2,
            message: format!("{error}\ntry 'fanfare --help'\n"),
        }
    }

    fn run_time(error: impl fmt::Display) -> Self {
        Self {
            exit_code: 1,
            message: format!("{error}\n"),
        }
    }
}

/// Asks another process of this program whether it is well.
fn check_health(arguments: &[OsString]) -> Result<(), Failure> {
    match healthcheck::run(arguments, std::env::var_os("FANFARE_ADMIN")) {
        healthcheck::Outcome::Healthy => Ok(()),
        healthcheck::Outcome::Help(text) => print(text),
        healthcheck::Outcome::Unhealthy(why) => Err(Failure::run_time(why)),
        healthcheck::Outcome::Misused(why) => Err(Failure::usage(why)),
    }
}

/// Serves until the server has been stopped. Leaves the log's writer in `log`.
fn serve(arguments: &Arguments, log: &mut Option<LogWriter>) -> Result<(), Failure> {
    let loaded = Loaded::load(arguments).map_err(Failure::usage)?;
    let Loaded {
        mut settings,
        has_file,
        access,
    } = loaded;
    if settings.explain_memory {
        return explain_memory(&mut settings);
    }
    *log = Some(start_log(settings.log_level)?);
    for warning in &settings.warnings {
        warn!("{warning}");
    }
    let descriptor_limit = descriptors::raise_limit();
    descriptors::settle_max_connections(&mut settings, descriptor_limit);
    let config = &settings.server;
    info!(
        "fanfare {} descriptor_limit={} max_connections={} max_rooms={} max_message_size={} \
         max_client_buffer={} features={}",
        env!("CARGO_PKG_VERSION"),
        descriptor_limit.map_or("unknown".to_owned(), |limit| limit.to_string()),
        config.hub.max_connections,
        config.hub.max_rooms,
        config.hub.limits.max_message_size,
        config.hub.max_client_buffer,
        cli::features(),
    );
    redis::log(config);
    let mut server = Server::bind(config.clone()).map_err(Failure::run_time)?;
    server.stop_on_signals().map_err(Failure::run_time)?;
    server.reload_on_signal().map_err(Failure::run_time)?;
    server.notify_supervisor();
    let service = Service {
        server,
        arguments,
        descriptor_limit,
        gate: Gate::new(Broadcast::new(settings.echo), access),
        has_file,
        settings,
    };
    match service.run().map_err(Failure::run_time)? {
        Outcome::Drained | Outcome::TimedOut => Ok(()),
        Outcome::Interrupted => Err(Failure::run_time("stopped at once by a second signal")),
    }
}

/// Prints how much memory the settings allow, for as many clients as there would be.
fn explain_memory(settings: &mut Settings) -> Result<(), Failure> {
    descriptors::settle_max_connections(settings, descriptors::raise_limit());
    print(&explain_memory::table(&settings.server))
}

/// Logs to stderr, without ever waiting for it. `RUST_LOG`, where it is set, overrides the level.
fn start_log(level: LevelFilter) -> Result<LogWriter, Failure> {
    let writer = LogWriter::start(io::stderr(), |lines| warn!("log lines dropped: {lines}"))
        .map_err(|error| Failure::run_time(format!("cannot start the log's thread: {error}")))?;
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level).parse_default_env();
    builder.format(|line, record| {
        let (time, level) = (line.timestamp(), record.level());
        match record.target() {
            // Our own lines say what they are about.
            own if own.split("::").next() == Some("fanfare") => {
                writeln!(line, "{time} {level:<5} {}", record.args())
            }
            other => writeln!(line, "{time} {level:<5} {other}: {}", record.args()),
        }
    });
    builder
        .target(Target::Pipe(Box::new(writer.input())))
        .init();
    Ok(writer)
}

/// Prints what was asked for. A reader that has seen enough (`fanfare --help | head`) is no
/// failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::run_time(format!(
            "cannot write to stdout: {error}"
        ))),
        _ => Ok(()),
    }
}
