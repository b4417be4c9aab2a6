//! The flags of Redis: what they refuse, what they warn of, and that no password is ever said.

use super::{check_refused, fanfare};

const FLAGS: [(&str, &str); 16] = [
    ("--redis", "redis://127.0.0.1:6379"),
    ("--redis-password-file", "/a/file"),
    ("--redis-ca", "/a/file"),
    ("--redis-cert", "/a/file"),
    ("--redis-key", "/a/file"),
    ("--redis-mode", "stream"),
    ("--redis-delivery", "local"),
    ("--redis-format", "raw"),
    ("--redis-channel", "news"),
    ("--redis-shards", "4"),
    ("--redis-queue-bytes", "1M"),
    ("--redis-queue-max-age", "5s"),
    ("--redis-echo-deadline", "50ms"),
    ("--redis-op-timeout", "5s"),
    ("--redis-stream-maxlen", "5"),
    ("--redis-catchup-max", "5"),
];

#[cfg(not(feature = "redis"))]
#[test]
fn flags_of_redis_say_that_the_feature_is_not_there() {
    for (flag, value) in FLAGS {
        let said = format!("{flag}: this binary was built without the feature redis");
        check_refused(&mut fanfare(&[flag, value]), &[&said]);
    }
}

#[test]
fn values_that_cannot_be_are_named_unless_a_password_may_be_in_them() {
    for (flag, value, why) in [
        ("--redis-mode", "fast", "is none of pubsub, stream"),
        ("--redis-delivery", "late", "is none of ordered, local"),
        ("--redis-format", "json", "is none of envelope, raw"),
        ("--redis-shards", "few", "is not a count like"),
        ("--redis-queue-bytes", "much", "is not a size like"),
        ("--redis-queue-max-age", "30", "has no unit: write 30s"),
        ("--redis-stream-maxlen", "1M", "is not a count like"),
    ] {
        let said = format!("{flag}: '{value}'");
        check_refused(&mut fanfare(&[flag, value]), &[&said, why]);
    }
    check_refused(&mut fanfare(&["--redis", ""]), &["--redis: '' is no URL"]);
}

/// What `--redis-password-file "$FORGOTTEN"` comes to must not be a server without a password.
#[test]
fn a_file_that_is_named_by_nothing_is_refused() {
    for flag in [
        "--redis-password-file",
        "--redis-ca",
        "--redis-cert",
        "--redis-key",
    ] {
        let said = format!("{flag}: '' names no file");
        check_refused(&mut fanfare(&[flag, ""]), &[&said]);
    }
}

#[cfg(feature = "redis")]
mod with_redis {
    use std::path::PathBuf;

    use super::super::{Running, check_refused, fanfare, text};
    use super::FLAGS;

    /// A password that no output may have.
    const SECRET: &str = "hunter2";

    /// A URL at which nobody answers.
    const NOBODY: &str = "redis://127.0.0.1:1";

    /// A file with these bytes, and its path.
    fn file(name: &str, bytes: &[u8]) -> String {
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&file, bytes).expect("the folder is there");
        file.into_os_string().into_string().expect("it is UTF-8")
    }

    #[test]
    fn details_need_a_redis() {
        for (flag, value) in &FLAGS[1..] {
            let said = format!("{flag} needs --redis");
            check_refused(&mut fanfare(&[flag, value]), &[&said]);
        }
    }

    #[test]
    fn a_url_that_is_none_is_refused_wherever_it_stands() {
        let url = format!("redis://app:{SECRET}@h/x");
        let why = "the database in the URL is not a number";
        let path = file("url.conf", format!("\nredis = {url}\n").as_bytes());
        let mut variable = fanfare(&[]);
        variable.env("FANFARE_REDIS", &url);
        for (mut command, place) in [
            (fanfare(&["--redis", &url]), "--redis: ".to_owned()),
            (variable, "FANFARE_REDIS: ".to_owned()),
            (fanfare(&["--config", &path]), format!("{path}:2: redis: ")),
        ] {
            check_refused(&mut command, &[&format!("fanfare: {place}{why}")]);
            let output = command.output().expect("the binary runs");
            assert!(!text(&output.stderr).contains(SECRET), "{command:?}");
        }
        let mut command = fanfare(&["--redis", "localhost:6379"]);
        let why = "--redis: not a URL like redis://127.0.0.1:6379";
        check_refused(&mut command, &[why]);
    }

    #[test]
    fn contradictions_are_refused() {
        let many = "x".repeat(129);
        let cases: [(&[&str], &str); 9] = [
            (
                &["--redis-format", "raw", "--no-echo"],
                "--redis-format raw contradicts --no-echo",
            ),
            (
                &["--redis-format", "raw", "--redis-mode", "stream"],
                "redis: the raw format and the stream mode do not go together",
            ),
            (
                &["--redis-format", "raw", "--redis-delivery", "local"],
                "redis: the raw format and local delivery do not go together",
            ),
            (
                &["--redis-format", "raw", "--redis-shards", "4"],
                "redis: the raw format and shards do not go together",
            ),
            (
                &["--redis", "redis://h/5", "--redis-shards", "4"],
                "redis: a database and shards do not go together",
            ),
            (&["--redis-shards", "65"], "redis shards must be 1 to 64"),
            (&["--redis-shards", "99999"], "redis shards must be 1 to 64"),
            (
                &["--redis-queue-bytes", "64K"],
                "redis queue of 65536 bytes is too small for the longest message, which takes \
                 66560",
            ),
            (&["--redis-channel", &many], "redis channel must have 1 to"),
        ];
        for (arguments, said) in cases {
            let arguments = [&["--redis", NOBODY], arguments].concat();
            check_refused(&mut fanfare(&arguments), &[said]);
        }
    }

    #[test]
    fn tls_needs_the_feature_and_a_certificate() {
        let said = if cfg!(feature = "tls") {
            "--redis: rediss:// needs --redis-ca"
        } else {
            "--redis: rediss:// needs the feature tls, and this binary was built without it"
        };
        check_refused(&mut fanfare(&["--redis", "rediss://h"]), &[said]);
        let sentinels = ["--redis", "rediss+sentinel://h/m"];
        let said = said.replace("rediss", "rediss+sentinel");
        check_refused(&mut fanfare(&sentinels), &[&said]);
        for flag in ["--redis-ca", "--redis-cert", "--redis-key"] {
            let without = ["--redis", NOBODY, flag, "/a/file"];
            let said = format!("{flag} needs --redis with rediss://");
            check_refused(&mut fanfare(&without), &[&said]);
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn files_of_tls_are_read_at_the_start() {
        let file = |name: &str| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/certificates/");
            format!("{folder}{name}")
        };
        let (ca, cert, key) = (file("ca.pem"), file("server.pem"), file("server.key"));
        let cases: [(&[&str], &str); 6] = [
            (
                &["--redis-ca", "/no/file"],
                "cannot read /no/file: No such file",
            ),
            (&["--redis-ca", &key], "server.key: no certificate in it"),
            (
                &["--redis-ca", &ca, "--redis-cert", &cert],
                "--redis-cert needs --redis-key",
            ),
            (
                &["--redis-ca", &ca, "--redis-key", &key],
                "--redis-key needs --redis-cert",
            ),
            (
                &["--redis-cert", &cert, "--redis-key", &key],
                "--redis: rediss:// needs --redis-ca",
            ),
            (
                &[
                    "--redis-ca",
                    &ca,
                    "--redis-cert",
                    &cert,
                    "--redis-key",
                    &file("renewed.key"),
                ],
                "renewed.key is not that of",
            ),
        ];
        for (arguments, said) in cases {
            let arguments = [&["--redis", "rediss://h"], arguments].concat();
            check_refused(&mut fanfare(&arguments), &[said]);
        }
        let good = [
            "--redis-ca",
            &ca,
            "--redis-cert",
            &cert,
            "--redis-key",
            &key,
        ];
        let mut command = fanfare(&["--listen", "127.0.0.1:0", "--redis", "rediss://127.0.0.1:1"]);
        command.args(good);
        Running::start(command).line(" INFO  redis url=rediss://127.0.0.1:1 user=\"none\"");
    }

    #[test]
    fn the_password_is_in_one_place_alone() {
        let path = file("password", b"in the file\n");
        let url = format!("redis://app:{SECRET}@127.0.0.1:1");
        let with_file = ["--redis-password-file", &path];
        let variable = "FANFARE_REDIS_PASSWORD";
        let in_both = |one, other| format!("the password of Redis is in {one} and in {other}");
        for (url, file, environment, said) in [
            (&*url, true, "", in_both("--redis", "--redis-password-file")),
            (&*url, false, SECRET, in_both("--redis", variable)),
            (
                NOBODY,
                true,
                SECRET,
                in_both("--redis-password-file", variable),
            ),
        ] {
            let mut command = fanfare(&["--redis", url]);
            command.args(&with_file[..if file { 2 } else { 0 }]);
            command.env(variable, environment);
            check_refused(&mut command, &[&said]);
            let output = command.output().expect("the binary runs");
            assert!(!text(&output.stderr).contains(SECRET), "{command:?}");
        }
    }

    #[test]
    fn a_file_without_a_password_is_refused() {
        let two = format!("{SECRET}\n{SECRET}\n");
        for (bytes, why) in [
            (&b""[..], "empty"),
            (b"\n", "empty"),
            (b"\r\n", "empty"),
            (two.as_bytes(), "more than one line"),
            (b"\xff\n", "not UTF-8"),
            (&[b'x'; 4097], "longer than 4096 bytes"),
        ] {
            let path = file("no-password", bytes);
            let said = format!("--redis-password-file: {path}: {why}");
            let arguments = ["--redis", NOBODY, "--redis-password-file", &path];
            check_refused(&mut fanfare(&arguments), &[&said]);
        }
        let arguments = ["--redis", NOBODY, "--redis-password-file", "/no/file"];
        let said = "--redis-password-file: /no/file: No such file";
        check_refused(&mut fanfare(&arguments), &[said]);
    }

    /// The log says where Redis is and who we are there, warns of what was not meant, and has no
    /// password, from wherever it came.
    #[test]
    fn the_log_says_where_redis_is_and_never_the_password() {
        let path = file("password-of-the-log", format!("{SECRET}\n").as_bytes());
        let listen = ["--listen", "127.0.0.1:0", "-vv"];
        let in_url = format!("redis://app:{SECRET}@127.0.0.1:1/5");
        let by_file = [
            "--redis",
            "redis://app@127.0.0.1:1",
            "--redis-password-file",
            &path,
        ];
        let (mut by_variable, mut in_variable) = (fanfare(&listen), fanfare(&listen));
        by_variable.args(["--redis", NOBODY]);
        by_variable.env("FANFARE_REDIS_PASSWORD", SECRET);
        in_variable.env("FANFARE_REDIS", &in_url);
        let mut in_arguments = fanfare(&listen);
        in_arguments.args(["--redis", &in_url]);
        let mut in_file = fanfare(&listen);
        in_file.args(by_file);
        for (command, user, is_warned) in [
            (in_arguments, "url=redis://127.0.0.1:1/5 user=\"app\"", true),
            (in_variable, "url=redis://127.0.0.1:1/5 user=\"app\"", false),
            (in_file, "url=redis://127.0.0.1:1 user=\"app\"", false),
            (
                by_variable,
                "url=redis://127.0.0.1:1 user=\"default\"",
                false,
            ),
        ] {
            let server = Running::start(command);
            let (lines, line) = server.lines_until(" INFO  redis url=");
            assert!(line.contains(user), "{line}");
            let end = " mode=pubsub delivery=ordered format=envelope channel=websocket-broadcast ";
            assert!(line.contains(end), "{line}");
            let warning = "the password in --redis is seen by all who see this process";
            assert_eq!(lines.contains(warning), is_warned, "{lines}");
            assert!(!lines.contains("unknown variable"), "{lines}");
            server.port();
            server.terminate();
            let ended = server.end();
            assert_eq!(ended.exit_code, Some(0), "{}", ended.stderr);
            let all = lines + &line + &ended.stderr;
            assert!(!all.contains(SECRET), "{all}");
        }
    }

    #[test]
    fn what_means_nothing_is_warned_of() {
        let listen = ["--listen", "127.0.0.1:0"];
        let mut command = fanfare(&listen);
        command.env("FANFARE_REDIS_PASSWORD", SECRET);
        let server = Running::start(command);
        server.line(" WARN  FANFARE_REDIS_PASSWORD means nothing without --redis");
        let mut command = fanfare(&listen);
        command.args(["--redis", "redis://127.0.0.1:1/5"]);
        let server = Running::start(command);
        server.line(" WARN  redis database=5 means nothing to --redis-mode pubsub");
    }
}
