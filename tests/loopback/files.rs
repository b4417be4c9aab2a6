//! Files that the binary reads again on SIGHUP, and that are none.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::binary::Process;

/// Puts a pipe in the place of a file: whoever opens it waits for a writer, and there is none.
fn replace_by_pipe(path: &Path) {
    fs::remove_file(path).expect("it is there");
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.expect("mkfifo can be run").success());
}

/// Starts a server with a flag that names a file, makes a pipe of the file, and has it read again.
fn check_pipe(flag: &str, text: &str, others: &[&str]) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join(format!("pipe{flag}"));
    let _ = fs::remove_file(&file);
    fs::write(&file, text).expect("the folder is there");
    let path = file.to_str().expect("it is UTF-8");
    let arguments = [&["--listen", "127.0.0.1:0", flag, path], others].concat();
    let mut server = Process::start("", &arguments, Stdio::null());
    server.line("listening on ");
    replace_by_pipe(&file);
    server.signal("HUP");
    let said = server.line("reloaded");
    let why = format!("{path}: not a regular file");
    assert!(
        said.contains("not reloaded, everything stays as it was: ") && said.contains(&why),
        "{said}"
    );
    // It turns still.
    server.stop();
    let _ = fs::remove_file(&file);
}

#[test]
fn a_pipe_of_settings_is_not_waited_for() {
    check_pipe("--config", "max-rooms = 5\n", &[]);
}

#[cfg(feature = "auth")]
#[test]
fn a_pipe_of_tokens_is_not_waited_for() {
    let token = format!("a both * sha256:{}\n", "0".repeat(64));
    check_pipe("--tokens", &token, &[]);
}

#[cfg(feature = "auth")]
#[test]
fn a_pipe_of_a_key_is_not_waited_for() {
    check_pipe("--ticket-key", &"k".repeat(32), &[]);
}

#[cfg(feature = "tls")]
#[test]
fn a_pipe_of_a_certificate_or_its_key_is_not_waited_for() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/certificates/");
    let (cert, key) = (format!("{folder}server.pem"), format!("{folder}server.key"));
    let text = |path| fs::read_to_string(path).expect("it is checked in");
    check_pipe("--tls-cert", &text(&cert), &["--tls-key", &key]);
    check_pipe("--tls-key", &text(&key), &["--tls-cert", &cert]);
}
