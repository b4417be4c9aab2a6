//! The examples of `docs/backplane.md`, as they stand there.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::client::Client;
use crate::peer::{Frame, TEXT};
use crate::server::{Keeps, RedisServer};
use crate::stage::{Mode, Plan, Stage, in_both_modes};

const PAGE: &str = include_str!("../../docs/backplane.md");

/// What stands in for the package `redis` of Python: as much as the example asks of it.
const PACKAGE: &str = r#"
import os, socket

class Redis:
    def publish(self, *words):
        words = [word if isinstance(word, bytes) else word.encode() for word in ("PUBLISH", *words)]
        with socket.socket(socket.AF_UNIX) as redis:
            redis.connect(os.environ["REDIS_SOCKET"])
            redis.sendall(b"*%d\r\n" % len(words))
            redis.sendall(b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
            assert redis.makefile("rb").readline().startswith(b":")
"#;

/// The block of code behind this mark.
fn block(mark: &str) -> &'static str {
    let (_, rest) = PAGE
        .split_once(&format!("<!-- {mark} -->\n```"))
        .expect(mark);
    let (_, rest) = rest
        .split_once('\n')
        .expect("the language ends with the line");
    rest.split_once("\n```").expect("it ends").0
}

fn run(command: &mut Command, redis: &RedisServer) {
    let command = command.env("REDIS_SOCKET", redis.socket());
    let output = command
        .output()
        .expect("it is there: python3, bash, redis-cli");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
#[ignore = "needs redis-cli: run by ./test redis"]
fn envelopes_as_they_are_documented() {
    in_both_modes(|mode| {
        let redis = RedisServer::start(Keeps::Nothing);
        let stage = Stage::set_up(Plan::new(mode), redis);
        stage.wait_until_well();
        let rooms = ["/ws/news", "/ws"].map(|room| Client::join(stage.nodes[1].address, room));
        // 1. As bytes.
        let digits: String = block("envelope: hex").split_whitespace().collect();
        let bytes = (0..digits.len()).step_by(2);
        let bytes = bytes.map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("digits"));
        let bytes: Vec<u8> = bytes.collect();
        let command = [b"PUBLISH".as_slice(), b"websocket-broadcast", &bytes];
        stage.redis.connect().call(&command).expect("an answer");
        // 2. By Python.
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(mode.name());
        fs::create_dir_all(&folder).expect("the folder is there");
        fs::write(folder.join("redis.py"), PACKAGE).expect("the folder is there");
        let mut python = Command::new("python3");
        python.args(["-c", block("envelope: python")]);
        run(python.env("PYTHONPATH", &folder), &stage.redis);
        // 3. By a shell.
        let shell =
            block("envelope: shell").replace("redis-cli -x", "redis-cli -s $REDIS_SOCKET -x");
        let mut bash = Command::new("bash");
        run(bash.args(["-euo", "pipefail", "-c", &shell]), &stage.redis);
        for index in 0..3 {
            let expected = Frame {
                first: TEXT,
                payload: b"hi".to_vec(),
            };
            assert_eq!(rooms[0].other(index), expected, "{index}");
        }
        rooms[1].read(|log| assert!(log.others.is_empty(), "another room"));
        // 4. Past the channel.
        if mode == Mode::Stream {
            let shell = block("stream: shell").replace("redis-cli", "redis-cli -s $REDIS_SOCKET");
            let mut bash = Command::new("bash");
            run(bash.args(["-euo", "pipefail", "-c", &shell]), &stage.redis);
            assert_eq!(rooms[1].other(0).payload, b"hello");
        }
    });
}
