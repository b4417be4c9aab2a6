//! Who is connected, and which rooms there are: in JSON, the first of them, never what they say.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write;
use std::time::Instant;

use super::json;
use super::routes::AdminError;
use crate::hub::Hub;
use crate::hub::client::{Client, Phase};

/// Entries of a list if the request does not say.
const DEFAULT_LIMIT: usize = 100;

/// The most entries of a list: what bounds the answer, at half a kilobyte each or so.
const MAX_LIMIT: usize = 1000;

/// What a list may come to: a room's name of 128 bytes is escaped to six times as many at worst,
/// and the rest of an entry are numbers.
pub(in crate::hub) const MAX_LIST_BYTES: usize = MAX_LIMIT * (6 * 128 + 512);

/// By what a list may be sorted; the first one is the rule.
const ROOM_SORTS: [&str; 2] = ["members", "name"];
const CLIENT_SORTS: [&str; 3] = ["backlog", "age", "bytes"];

/// What of a list is wanted.
#[derive(Debug, PartialEq, Eq)]
struct Query {
    /// The position of its name among those that there are.
    sort: usize,
    limit: usize,
}

impl Query {
    /// Reads `sort=…&limit=…`, each of which may be missing.
    fn parse(
        query: Option<&str>,
        sorts: &[&str],
        bad_sort: &'static str,
    ) -> Result<Self, AdminError> {
        let (mut sort, mut limit) = (None, None);
        let pairs = query.unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let previous = match name {
                "sort" => {
                    let found = sorts.iter().position(|sort| *sort == value);
                    sort.replace(found.ok_or(AdminError::InvalidQuery(bad_sort))?)
                }
                "limit" => limit.replace(parse_limit(value)?),
                _ => return Err(AdminError::InvalidQuery("there is sort=, and limit=")),
            };
            if previous.is_some() {
                return Err(AdminError::InvalidQuery("repeated parameter"));
            }
        }
        Ok(Self {
            sort: sort.unwrap_or(0),
            limit: limit.unwrap_or(DEFAULT_LIMIT),
        })
    }
}

fn parse_limit(value: &str) -> Result<usize, AdminError> {
    let is_plain = value.bytes().all(|byte| byte.is_ascii_digit());
    let limit = value
        .parse()
        .ok()
        .filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit
        .filter(|_| is_plain)
        .ok_or(AdminError::InvalidQuery("limit is a number from 1 to 1000"))
}

/// The places of those with the greatest keys, the greatest first; of equals, the first ones first.
/// Holds no more than are wanted.
fn top<K: Ord>(items: impl Iterator<Item = (K, usize)>, limit: usize) -> Vec<usize> {
    let mut best = BinaryHeap::with_capacity(limit + 1);
    for (key, place) in items {
        best.push(Reverse((key, Reverse(place))));
        if best.len() > limit {
            best.pop();
        }
    }
    let sorted = best.into_sorted_vec().into_iter();
    sorted.map(|Reverse((_, Reverse(place)))| place).collect()
}

impl Hub {
    /// `/rooms`. Looks at every room.
    pub(super) fn list_rooms(&self, query: Option<&str>) -> Result<String, AdminError> {
        let query = Query::parse(query, &ROOM_SORTS, "sort is members or name")?;
        let rooms = self.rooms.iter();
        let places = match query.sort {
            0 => top(
                rooms.map(|(i, room)| (room.members().len(), i)),
                query.limit,
            ),
            _ => top(rooms.map(|(i, room)| (Reverse(&room.name), i)), query.limit),
        };
        let mut text = format!("{{\"total\":{},\"rooms\":[", self.rooms.len());
        for (i, place) in places.into_iter().enumerate() {
            text.push_str(if i == 0 { "\n" } else { ",\n" });
            text.push_str("{\"name\":");
            let room = self.rooms.at(place);
            json::write_string(&room.name, &mut text);
            // Writing to a String cannot fail.
            let _ = write!(text, ",\"members\":{}}}", room.members().len());
        }
        text.push_str("\n]}\n");
        Ok(text)
    }

    /// `/clients`. Looks at every client.
    pub(super) fn list_clients(
        &self,
        query: Option<&str>,
        now: Instant,
    ) -> Result<String, AdminError> {
        let query = Query::parse(query, &CLIENT_SORTS, "sort is backlog, age or bytes")?;
        let key: fn(&Client, Instant) -> u64 = match query.sort {
            0 => |client, _| client.outgoing.owed() as u64,
            1 => |client, now| nanos(now, client.accepted_at),
            _ => |client, _| client.traffic.bytes_received + client.traffic.bytes_sent,
        };
        let clients = self.clients.iter();
        let clients = clients.filter(|(_, client)| !client.is_admin && !client.doomed);
        let places = top(
            clients.map(|(i, client)| (key(client, now), i)),
            query.limit,
        );
        let mut text = format!("{{\"total\":{},\"clients\":[", self.len());
        for (i, place) in places.into_iter().enumerate() {
            text.push_str(if i == 0 { "\n" } else { ",\n" });
            self.write_client(&self.clients[place], now, &mut text);
        }
        text.push_str("\n]}\n");
        Ok(text)
    }

    fn write_client(&self, client: &Client, now: Instant, text: &mut String) {
        let phase = match client.phase {
            Phase::ProxyHeader(_) | Phase::Handshake(_) => "handshake",
            Phase::Open(_) => "open",
            Phase::Closing(_) => "closing",
            Phase::Lingering | Phase::Admin(_) => "lingering",
        };
        // Writing to a String cannot fail; an address has nothing to escape.
        let _ = write!(
            text,
            "{{\"id\":\"{}\",\"address\":\"{}\",\"phase\":\"{phase}\",\"room\":",
            client.id, client.peer,
        );
        match self.room_name_of(client.id) {
            Some(room) => json::write_string(room, text),
            None => text.push_str("null"),
        }
        let age = now.saturating_duration_since(client.accepted_at);
        let traffic = &client.traffic;
        let _ = write!(
            text,
            ",\"age\":{:.3},\"bytes_in\":{},\"bytes_out\":{},\"messages_in\":{},\
             \"messages_out\":{},\"backlog\":{},\"peak\":{}}}",
            age.as_secs_f64(),
            traffic.bytes_received,
            traffic.bytes_sent,
            traffic.messages_received,
            traffic.messages_sent,
            client.outgoing.owed(),
            client.outgoing.peak(),
        );
    }
}

fn nanos(now: Instant, then: Instant) -> u64 {
    let age = now.saturating_duration_since(then).as_nanos();
    u64::try_from(age).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Query, AdminError> {
        Query::parse(Some(query), &CLIENT_SORTS, "bad sort")
    }

    #[test]
    fn a_query_says_how_to_sort_and_how_many() {
        let of = |sort, limit| Ok(Query { sort, limit });
        assert_eq!(Query::parse(None, &CLIENT_SORTS, ""), of(0, 100));
        assert_eq!(parse(""), of(0, 100));
        assert_eq!(parse("limit=1"), of(0, 1));
        assert_eq!(parse("sort=age&limit=1000"), of(1, 1000));
        assert_eq!(parse("&limit=007&&sort=bytes&"), of(2, 7));
        for query in [
            "limit=0",
            "limit=1001",
            "limit=",
            "limit",
            "limit=-1",
            "limit=+1",
            "limit=1e3",
            "limit=99999999999999999999",
            "sort=",
            "sort=room",
            "sort=Age",
            "x=1",
            "limit=1&limit=1",
            "sort=age&sort=age",
        ] {
            assert!(parse(query).is_err(), "{query}");
        }
    }

    #[test]
    fn the_greatest_come_first_and_no_more_than_are_wanted() {
        let keys = [3, 9, 1, 9, 7, 0];
        let items = || keys.into_iter().zip(0..);
        assert_eq!(top(items(), 3), [1, 3, 4]);
        assert_eq!(top(items(), 1), [1]);
        assert_eq!(top(items(), 100), [1, 3, 4, 0, 2, 5]);
        assert!(top(std::iter::empty::<(u8, usize)>(), 3).is_empty());
    }
}
