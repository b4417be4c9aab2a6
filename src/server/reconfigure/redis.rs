//! Other settings of Redis, all of which need a restart.

use crate::backplane::{BackplaneConfig, Credentials, DeliveryOrder, Format, Mode};
use crate::hub::{Changes, Setting};

/// What is different between two backplanes, or between one and none.
pub(super) fn note_changes(
    old: Option<&BackplaneConfig>,
    new: Option<&BackplaneConfig>,
    changes: &mut Changes,
) {
    let url = |config: Option<&BackplaneConfig>| config.map(BackplaneConfig::public_url);
    changes.at_restart("redis", &url(old), &url(new));
    let (Some(old), Some(new)) = (old, new) else {
        return;
    };
    // Without `..`, so that no setting is forgotten.
    let BackplaneConfig {
        // These three are in the URL.
        target: _,
        tls: _,
        database: _,
        credentials,
        mode,
        delivery,
        format,
        channel,
        shards,
        queue_bytes,
        queue_max_age,
        echo_deadline,
        op_timeout,
        stream_maxlen,
        catchup_max,
        max_message_size,
    } = new;
    changes.at_restart("redis_credentials", &old.credentials, credentials);
    changes.at_restart("redis_mode", &old.mode, mode);
    changes.at_restart("redis_delivery", &old.delivery, delivery);
    changes.at_restart("redis_format", &old.format, format);
    changes.at_restart("redis_channel", &old.channel, channel);
    changes.at_restart("redis_shards", &old.shards, shards);
    changes.at_restart("redis_queue_bytes", &old.queue_bytes, queue_bytes);
    changes.at_restart("redis_queue_max_age", &old.queue_max_age, queue_max_age);
    changes.at_restart("redis_echo_deadline", &old.echo_deadline, echo_deadline);
    changes.at_restart("redis_op_timeout", &old.op_timeout, op_timeout);
    changes.at_restart("redis_stream_maxlen", &old.stream_maxlen, stream_maxlen);
    changes.at_restart("redis_catchup_max", &old.catchup_max, catchup_max);
    let old_size = &old.max_message_size;
    changes.at_restart("redis_max_message_size", old_size, max_message_size);
}

/// Whose they are; what the password is, or was, is nobody's business.
impl Setting for Credentials {
    fn shown(&self) -> String {
        format!("{:?}:(hidden)", self.user)
    }
}

impl Setting for Mode {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Setting for DeliveryOrder {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Setting for Format {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Setting for u16 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Setting for u64 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Option<BackplaneConfig> {
        url.parse().ok()
    }

    fn changes(old: &str, new: Option<&BackplaneConfig>) -> Vec<String> {
        let mut changes = Changes::default();
        note_changes(config(old).as_ref(), new, &mut changes);
        assert!(changes.0.iter().all(|change| change.needs_restart));
        changes.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_redis_that_comes_goes_or_moves_is_one_change() {
        let url = "redis://h:1/5";
        assert_eq!(changes(url, config(url).as_ref()), [""; 0]);
        assert_eq!(changes(url, None), ["redis=redis://h:1/5..none"]);
        let new = config("rediss://h:1/5");
        let new = new.as_ref();
        assert_eq!(changes("none", new), ["redis=none..rediss://h:1/5"]);
        assert_eq!(changes(url, new), ["redis=redis://h:1/5..rediss://h:1/5"]);
    }

    #[test]
    fn another_password_is_told_and_not_what_it_is() {
        let new = config("redis://app:hunter3@h:1");
        let shown = "\"app\":(hidden)";
        assert_eq!(
            changes("redis://app:hunter2@h:1", new.as_ref()),
            [format!("redis_credentials={shown}..{shown}")]
        );
    }

    #[test]
    fn every_setting_has_its_name() {
        let url = "redis://h:1";
        let new = config(url).map(|mut config| {
            config.mode = Mode::Stream;
            config.delivery = DeliveryOrder::Local;
            config.format = Format::Raw;
            "c".clone_into(&mut config.channel);
            config.shards = Some(4);
            config.queue_bytes = 1;
            config.queue_max_age *= 2;
            config.echo_deadline *= 2;
            config.op_timeout *= 2;
            config.stream_maxlen = 2;
            config.catchup_max = 3;
            config.max_message_size = 4;
            config
        });
        let expected = "redis_mode=pubsub..stream redis_delivery=ordered..local \
                        redis_format=envelope..raw redis_channel=websocket-broadcast..c \
                        redis_shards=none..4 redis_queue_bytes=16777216..1 \
                        redis_queue_max_age=30s..60s redis_echo_deadline=250ms..500ms \
                        redis_op_timeout=1s..2s redis_stream_maxlen=100000..2 \
                        redis_catchup_max=100000..3 redis_max_message_size=1048576..4";
        assert_eq!(changes(url, new.as_ref()).join(" "), expected);
    }
}
