//! Where a request has its credential.

use std::borrow::Cow;

use fanfare::{Rejection, Request};

use super::rooms::percent_decoded;

/// The subprotocol that says of the one behind it that it is a credential: a script in a browser
/// can set nothing else.
pub(super) const SUBPROTOCOL: &str = "bearer";

/// What somebody shows. It has no `Debug`: nothing can log it by mistake.
pub(super) struct Credential<'r> {
    pub(super) secret: Cow<'r, [u8]>,
    /// Whether it was among the subprotocols, so that one of them must be answered.
    pub(super) is_subprotocol: bool,
}

impl<'r> Credential<'r> {
    /// Looks in all places where one may be; in the query only if `in_query`.
    ///
    /// # Errors
    /// Several that are not the same: which of them counts is not for us to guess (RFC 6750,
    /// section 3.1, has 400 for it).
    pub(super) fn find(
        request: &'r Request<'_>,
        in_query: bool,
    ) -> Result<Option<Self>, Rejection> {
        let subprotocol = of_subprotocols(request);
        let query = request.query().filter(|_| in_query).unwrap_or_default();
        let mut all = of_authorization(request)
            .chain(subprotocol.iter().copied())
            .map(Cow::Borrowed)
            .chain(of_query(query));
        let Some(secret) = all.next() else {
            return Ok(None);
        };
        if all.any(|other| other != secret) {
            return Err(Rejection::SeveralCredentials);
        }
        Ok(Some(Self {
            secret,
            is_subprotocol: !subprotocol.is_empty(),
        }))
    }
}

/// RFC 6750, section 2.1. Other schemes are for others: a proxy, say.
fn of_authorization<'r>(request: &'r Request<'_>) -> impl Iterator<Item = &'r [u8]> {
    request.values("authorization").filter_map(|value| {
        let end = value.iter().position(|byte| *byte == b' ');
        let (scheme, rest) = value.split_at(end.unwrap_or(value.len()));
        scheme
            .eq_ignore_ascii_case(b"bearer")
            .then(|| rest.trim_ascii())
    })
}

/// What stands behind each `bearer`.
fn of_subprotocols<'r>(request: &'r Request<'_>) -> Vec<&'r [u8]> {
    let mut offers = request.list("sec-websocket-protocol");
    let mut found = Vec::new();
    while let Some(offer) = offers.next() {
        if offer == SUBPROTOCOL.as_bytes() {
            found.extend(offers.next());
        }
    }
    found
}

/// `token=` of the query, percent-decoded; as it stands if it is badly encoded, which no valid one
/// is.
fn of_query(query: &str) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let values = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("token="));
    values.map(|value| match percent_decoded(value.as_bytes()) {
        Some(decoded) => Cow::Owned(decoded),
        None => Cow::Borrowed(value.as_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in a request with these fields, each with its line end.
    fn find(
        target: &str,
        fields: &str,
        in_query: bool,
    ) -> Result<Option<(String, bool)>, Rejection> {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let request = Request::parse(head.as_bytes()).unwrap();
        let found = Credential::find(&request, in_query)?;
        Ok(found.map(|found| {
            let secret = String::from_utf8(found.secret.into_owned()).unwrap();
            (secret, found.is_subprotocol)
        }))
    }

    fn in_fields(fields: &str) -> Result<Option<(String, bool)>, Rejection> {
        find("/ws?token=query", fields, false)
    }

    #[test]
    fn each_place_alone() {
        for (fields, expected) in [
            ("", None),
            ("Authorization: Bearer abc\r\n", Some(("abc", false))),
            ("authorization: bEARER   abc \r\n", Some(("abc", false))),
            ("Authorization: Bearer\r\n", Some(("", false))),
            ("Authorization: Basic YTpi\r\n", None),
            ("Authorization: Bearerabc\r\n", None),
            (
                "Authorization: Basic YTpi\r\nAuthorization: Bearer abc\r\n",
                Some(("abc", false)),
            ),
            (
                "Sec-WebSocket-Protocol: bearer, abc\r\n",
                Some(("abc", true)),
            ),
            (
                "Sec-WebSocket-Protocol: chat, bearer,abc , v1\r\n",
                Some(("abc", true)),
            ),
            (
                "Sec-WebSocket-Protocol: bearer\r\nSec-WebSocket-Protocol: abc\r\n",
                Some(("abc", true)),
            ),
            ("Sec-WebSocket-Protocol: abc, bearer\r\n", None),
            ("Sec-WebSocket-Protocol: Bearer, abc\r\n", None),
            ("Sec-WebSocket-Protocol: chat\r\n", None),
        ] {
            let expected = expected.map(|(secret, is)| (secret.to_owned(), is));
            assert_eq!(in_fields(fields), Ok(expected), "{fields}");
        }
    }

    #[test]
    fn the_query_counts_only_if_it_may() {
        for (query, expected) in [
            ("?token=abc", Some("abc")),
            ("?a=b&token=a%2Ebc&c", Some("a.bc")),
            ("?token=", Some("")),
            ("?token=%", Some("%")),
            ("?token=a&token=a", Some("a")),
            ("?Token=abc&tokens=x&xtoken=y", None),
            ("?", None),
            ("", None),
        ] {
            let target = format!("/ws{query}");
            let expected = expected.map(|secret| (secret.to_owned(), false));
            assert_eq!(find(&target, "", true), Ok(expected), "{query}");
            assert_eq!(find(&target, "", false), Ok(None), "{query}");
        }
        let differ = find("/ws?token=a&token=b", "", true);
        assert_eq!(differ, Err(Rejection::SeveralCredentials));
    }

    #[test]
    fn several_places_must_agree() {
        let bearer = "Authorization: Bearer abc\r\n";
        let pair = "Sec-WebSocket-Protocol: bearer, abc\r\n";
        let other = "Sec-WebSocket-Protocol: bearer, abd\r\n";
        let same = Ok(Some(("abc".to_owned(), true)));
        let differ = Err(Rejection::SeveralCredentials);
        assert_eq!(in_fields(&[bearer, pair].concat()), same);
        assert_eq!(in_fields(&[bearer, bearer, pair].concat()), same);
        assert_eq!(in_fields(&[bearer, other].concat()), differ);
        assert_eq!(in_fields(&[pair, other].concat()), differ);
        assert_eq!(
            find("/ws?token=abc", bearer, true),
            Ok(Some(("abc".to_owned(), false)))
        );
        assert_eq!(find("/ws?token=abd", bearer, true), differ);
        assert_eq!(
            find("/ws?token=abd", bearer, false),
            Ok(Some(("abc".to_owned(), false)))
        );
        assert_eq!(find("/ws?token=abd", pair, true), differ);
    }
}
