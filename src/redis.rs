//! The Redis that the flags name.

#[cfg(feature = "redis")]
mod password;
#[cfg(feature = "redis")]
mod tls;

use fanfare::ServerConfig;

use crate::config::Settings;

/// Has the server share its rooms through Redis if flags say so.
///
/// # Errors
/// What is wrong with the flags, or with the files.
#[cfg(feature = "redis")]
pub(crate) fn load(settings: &mut Settings) -> Result<(), String> {
    use fanfare::backplane::{BackplaneConfig, DeliveryOrder, Format, Mode};

    let redis = &settings.redis;
    let Some(url) = &redis.url else {
        if let Some(flag) = redis.first_detail() {
            return Err(format!("{flag} needs --redis"));
        }
        return Ok(());
    };
    let config = url.reveal().parse::<BackplaneConfig>();
    let mut config = config.map_err(|error| format!("--redis: {error}"))?;
    if redis.is_stream {
        config.mode = Mode::Stream;
    }
    if redis.is_local {
        config.delivery = DeliveryOrder::Local;
    }
    if redis.is_raw {
        config.format = Format::Raw;
    }
    config.channel.clone_from(&redis.channel);
    // More than there may be is refused below.
    config.shards = redis
        .shards
        .map(|count| u16::try_from(count).unwrap_or(u16::MAX));
    config.queue_bytes = redis.queue_bytes;
    config.queue_max_age = redis.queue_max_age;
    config.echo_deadline = redis.echo_deadline;
    config.op_timeout = redis.op_timeout;
    config.stream_maxlen = redis.stream_maxlen as u64;
    config.catchup_max = redis.catchup_max as u64;
    config.max_message_size = settings.server.hub.limits.max_message_size;
    password::fill_in(redis, &mut config)?;
    config.check().map_err(|error| error.to_string())?;
    if config.format == Format::Raw && !settings.echo {
        // What comes back from Redis does not say whose it was.
        return Err("--redis-format raw contradicts --no-echo".to_owned());
    }
    if config.mode == Mode::PubSub && config.database > 0 {
        settings.warnings.push(format!(
            "redis database={} means nothing to --redis-mode pubsub: who shares a Redis and must \
             not share rooms needs another --redis-channel",
            config.database
        ));
    }
    tls::fill_in(&settings.redis, &config, &mut settings.server)?;
    settings.server.backplane = Some(config);
    Ok(())
}

/// Says that there is no Redis if flags ask for it.
///
/// # Errors
/// Whenever they do.
#[cfg(not(feature = "redis"))]
pub(crate) fn load(settings: &mut Settings) -> Result<(), String> {
    let redis = &settings.redis;
    let flag = redis.url.as_ref().map(|_| "--redis");
    match flag.or_else(|| redis.first_detail()) {
        Some(flag) => Err(format!(
            "{flag}: this binary was built without the feature redis"
        )),
        None => Ok(()),
    }
}

/// Tells the log where the rooms are shared, and how; never with which password.
#[cfg(feature = "redis")]
pub(crate) fn log(server: &ServerConfig) {
    let Some(config) = &server.backplane else {
        return;
    };
    let user = config.credentials.as_ref();
    log::info!(
        "redis url={} user={:?} mode={} delivery={} format={} channel={} shards={} queue_bytes={} \
         queue_max_age={:?} echo_deadline={:?} op_timeout={:?}",
        config.public_url(),
        user.map_or("none", |credentials| &credentials.user),
        config.mode,
        config.delivery,
        config.format,
        config.channel,
        config.shards.unwrap_or(0),
        config.queue_bytes,
        config.queue_max_age,
        config.echo_deadline,
        config.op_timeout,
    );
}

/// There is nothing to tell.
#[cfg(not(feature = "redis"))]
pub(crate) fn log(_: &ServerConfig) {}
