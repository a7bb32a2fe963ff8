//! What comes in: JSON bodies, parameters, ids and request keys, each checked at
//! the edge and refused with a pointer to what is wrong. A body is bounded in
//! bytes and in time.

use super::auth::{Caller, Who};
use super::error::{ApiError, Code};
use super::objects::Objects;
use super::room::Room;
use crate::api;
use crate::app::App;
use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::Value;
use tombola_core::ids::ID_MAX;
use tombola_core::{Timestamp, limits};

/// What begins a character of JSON by its number, where that is U+0000.
const NUL_ESCAPE: &str = "\\u0000";

/// A JSON body of type `T`. An empty body is `{}`, so that an action without
/// details needs none.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let is_json = has_content_type(request.headers(), "application/json");
        let text = read(request.into_body(), app).await?;
        if text.is_empty() {
            return parse("{}").map(Self);
        }
        if !is_json {
            return Err(ApiError::new(
                Code::UnsupportedMediaType,
                "send application/json",
            ));
        }
        parse(&text).map(Self)
    }
}

/// A JSON body as text, for those that read it by rules of their own.
#[derive(Debug)]
pub(super) struct JsonText(pub(super) String);

impl FromRequest<App> for JsonText {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        if !has_content_type(request.headers(), "application/json") {
            return Err(ApiError::new(
                Code::UnsupportedMediaType,
                "send application/json",
            ));
        }
        let text = read(request.into_body(), app).await?;
        refuse_nul(&text)?;
        Ok(Self(text))
    }
}

/// Whether the request says that its body is of that type, parameters aside.
pub(super) fn has_content_type(headers: &HeaderMap, wanted: &str) -> bool {
    let said = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    said.and_then(|said| said.split(';').next())
        .is_some_and(|said| said.trim().eq_ignore_ascii_case(wanted))
}

async fn read(body: Body, app: &App) -> Result<String, ApiError> {
    let bytes = read_bytes(body, app).await?;
    String::from_utf8(bytes.into()).map_err(|_| ApiError::field("", "the body is not UTF-8"))
}

/// A whole body, bounded in bytes and in time: refused before it is read where its
/// length says that it is too large, cut off where that shows later.
pub(super) async fn read_bytes(body: Body, app: &App) -> Result<Bytes, ApiError> {
    let at_least = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if at_least > limits::BODY_BYTES_MAX {
        return Err(too_large());
    }
    let deadline = app.config().http.body_timeout.0;
    tokio::time::timeout(deadline, collect(body, app.room()))
        .await
        .map_err(|_| ApiError::from(Code::BodyTimeout))?
}

fn too_large() -> ApiError {
    let most = limits::BODY_BYTES_MAX;
    ApiError::new(Code::BodyTooLarge, format!("send at most {most} bytes"))
}

/// Holds the room that it takes until it has come whole.
async fn collect(body: Body, room: &Room) -> Result<Bytes, ApiError> {
    let (mut bytes, mut taken) = (Vec::new(), Vec::new());
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| ApiError::field("", "the body broke off"))?;
        if bytes.len() + chunk.len() > limits::BODY_BYTES_MAX {
            return Err(too_large());
        }
        taken.push(room.body(chunk.len())?);
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = at_pointer(&mut reader)?;
    reader
        .end()
        .map_err(|error| ApiError::field("", error.to_string()))?;
    refuse_nul(text)?;
    refuse_list_for_struct::<T>(text)?;
    Ok(value)
}

/// The value; an error has the pointer to where it is.
fn at_pointer<'de, D, T>(reader: D) -> Result<T, ApiError>
where
    D: Deserializer<'de, Error = serde_json::Error>,
    T: Deserialize<'de>,
{
    serde_path_to_error::deserialize(reader)
        .map_err(|error| ApiError::field(pointer(error.path()), error.inner().to_string()))
}

/// Reads a body that has a list once more, by [`Objects`]; most have none, and no draw has.
fn refuse_list_for_struct<T: DeserializeOwned>(text: &str) -> Result<(), ApiError> {
    if !text.contains('[') {
        return Ok(());
    }
    let value =
        serde_json::from_str(text).map_err(|error| ApiError::field("", error.to_string()))?;
    at_pointer::<_, T>(Objects(value)).map(drop)
}

/// Refuses U+0000 in any text of a body, with a pointer to it: not every database
/// takes it, and nobody means it.
fn refuse_nul(text: &str) -> Result<(), ApiError> {
    if !text.contains(NUL_ESCAPE) {
        return Ok(());
    }
    // It may stand behind a backslash that is one itself.
    match serde_json::from_str::<Value>(text)
        .ok()
        .as_ref()
        .and_then(nul)
    {
        Some(pointer) => Err(ApiError::field(pointer, "U+0000 is not taken")),
        None => Ok(()),
    }
}

/// The pointer to the first text with U+0000 in it. No deeper than the reader of JSON
/// goes.
fn nul(value: &Value) -> Option<String> {
    let is_nul = |text: &str| text.contains('\0');
    match value {
        Value::String(text) => is_nul(text).then(String::new),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| Some(format!("/{index}{}", nul(item)?))),
        Value::Object(fields) => fields.iter().find_map(|(name, item)| {
            if is_nul(name) {
                return Some(String::new());
            }
            Some(format!("/{}{}", escape(name), nul(item)?))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// A name as a part of a JSON pointer.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Whether an address has U+0000 in it, as it comes over the wire.
fn has_nul(uri: &Uri) -> bool {
    uri.path_and_query()
        .is_some_and(|text| text.as_str().contains("%00"))
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        pointer.push('/');
        match segment {
            Segment::Seq { index } => pointer.push_str(&index.to_string()),
            Segment::Map { key } => pointer.push_str(&escape(key)),
            Segment::Enum { variant } => pointer.push_str(variant),
            Segment::Unknown => {
                pointer.pop();
            }
        }
    }
    pointer
}

/// The parameters behind the question mark; an unknown one is an error.
#[derive(Debug)]
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        if has_nul(&parts.uri) {
            return Err(ApiError::new(Code::InvalidQuery, "U+0000 is not taken"));
        }
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Self(params)),
            Err(error) => Err(ApiError::new(Code::InvalidQuery, error.body_text())),
        }
    }
}

/// The parts of the path. One that is no text is an address that is not there.
#[derive(Debug)]
pub(super) struct Names<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Names<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        if has_nul(&parts.uri) {
            return Err(ApiError::new(Code::InvalidQuery, "U+0000 is not taken"));
        }
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(names)) => Ok(Self(names)),
            Err(_) => Err(Code::RouteNotFound.into()),
        }
    }
}

/// A draw's or an award's id as the path has it; anything else names none.
pub(super) fn id(text: &str, code: Code) -> Result<i64, ApiError> {
    let id = text.parse().ok().filter(|id| (1..=ID_MAX).contains(id));
    id.ok_or_else(|| code.into())
}

/// The request key of a request that needs one.
pub(super) fn request_key(headers: &HeaderMap) -> Result<String, ApiError> {
    optional_request_key(headers)?.ok_or_else(|| Code::RequestKeyMissing.into())
}

/// The request key of a request that may have one.
pub(super) fn optional_request_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let is_good = |key: &&str| {
        limits::REQUEST_KEY_CHARS.contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let key = value
        .to_str()
        .ok()
        .filter(is_good)
        .filter(|_| values.next().is_none());
    key.map(|key| Some(key.to_owned()))
        .ok_or_else(|| Code::RequestKeyInvalid.into())
}

/// A user id: short, no control characters.
pub(super) fn user(text: &str) -> Result<(), ApiError> {
    let is_good =
        (1..=limits::USER_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    if is_good {
        Ok(())
    } else {
        Err(ApiError::field(
            "/user",
            format!(
                "use 1 to {} bytes without control characters",
                limits::USER_BYTES_MAX
            ),
        ))
    }
}

/// A player draws and looks for itself only.
pub(super) fn own_user(caller: &Caller, user: &str) -> Result<(), ApiError> {
    match caller.who() {
        Who::Player(player, _) if player.user != user => Err(ApiError::new(
            Code::Forbidden,
            "the token is for another user",
        )),
        Who::Player(..) | Who::Local | Who::Key(_) | Who::Winner(_) | Who::Nobody => Ok(()),
    }
}

/// A reason: not long; a blank one is none.
pub(super) fn reason(text: Option<String>) -> Result<Option<String>, ApiError> {
    match &text {
        Some(long) if long.len() > limits::REASON_BYTES_MAX => Err(ApiError::field(
            "/reason",
            format!("use at most {} bytes", limits::REASON_BYTES_MAX),
        )),
        Some(_) | None => Ok(text.filter(|text| !text.trim().is_empty())),
    }
}

/// Reads `since` and `until`; an error names the parameter.
pub(super) fn period(
    since: Option<&str>,
    until: Option<&str>,
    now: Timestamp,
) -> Result<(Option<Timestamp>, Option<Timestamp>), ApiError> {
    let read = |name: &str, text: Option<&str>| {
        let instant = text.map(|text| {
            api::instant(text, now).ok_or_else(|| {
                let what = format!("{name}: use RFC 3339, or a span such as 2h");
                ApiError::new(Code::InvalidQuery, what)
            })
        });
        instant.transpose()
    };
    let (since, until) = (read("since", since)?, read("until", until)?);
    if since.is_some() && until.is_some() && until < since {
        let what = "until: it lies before `since`, so nothing can fit";
        return Err(ApiError::new(Code::InvalidQuery, what));
    }
    Ok((since, until))
}

/// The reason of an act that has to have one.
pub(super) fn needed_reason(text: Option<String>) -> Result<String, ApiError> {
    reason(text)?
        .ok_or_else(|| ApiError::field("/reason", "say why; it goes into the operator log"))
}

/// How many rows a page has.
pub(super) fn page_size(limit: Option<usize>) -> Result<usize, ApiError> {
    match limit {
        None => Ok(limits::PAGE_DEFAULT),
        Some(limit) if (1..=limits::PAGE_MAX).contains(&limit) => Ok(limit),
        Some(_) => Err(ApiError::new(
            Code::InvalidQuery,
            format!("limit: use 1 to {}", limits::PAGE_MAX),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use axum::http::HeaderValue;

    #[tokio::test]
    async fn body_that_stands_still_is_waited_for_as_long_as_the_bound_says() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.database.url = format!("sqlite://{}/t.db", directory.path().display());
        let app = App::open(config).await.unwrap();
        tokio::time::pause();
        let since = tokio::time::Instant::now();
        let never = futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
        let error = read(Body::from_stream(never), &app).await.err().unwrap();
        assert_eq!(error.code, Code::BodyTimeout);
        assert!(since.elapsed() >= limits::BODY_TIMEOUT);
    }

    #[test]
    fn request_keys_are_8_to_128_visible_ascii() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(
                "idempotency-key",
                HeaderValue::from_bytes(text.as_bytes()).unwrap(),
            );
            request_key(&headers).map_err(|error| error.code)
        };
        assert_eq!(read("12345678").unwrap(), "12345678");
        assert!(read(&"k".repeat(128)).is_ok());
        for bad in ["1234567", &"k".repeat(129), "with a space", "nicht-ä-ascii"] {
            assert_eq!(read(bad), Err(Code::RequestKeyInvalid), "{bad}");
        }
        assert_eq!(
            request_key(&HeaderMap::new()).unwrap_err().code,
            Code::RequestKeyMissing
        );
    }

    #[test]
    fn reason_of_blanks_is_none_and_is_bounded_all_the_same() {
        let blank = |length| reason(Some(" ".repeat(length))).map_err(|error| error.code);
        assert_eq!(blank(limits::REASON_BYTES_MAX), Ok(None));
        assert_eq!(blank(limits::REASON_BYTES_MAX + 1), Err(Code::InvalidBody));
    }

    #[test]
    fn page_without_a_limit_has_as_many_rows_as_the_default_says() {
        assert_eq!(page_size(None).ok(), Some(limits::PAGE_DEFAULT));
        assert_eq!(page_size(Some(1)).ok(), Some(1));
    }

    #[test]
    fn nul_is_refused_with_its_pointer_and_an_escaped_backslash_is_none() {
        let pointer = |text: &str| {
            let error = parse::<Value>(text).err()?;
            Some(error.extra["errors"][0]["pointer"].clone())
        };
        assert_eq!(
            pointer(r#"{"a":[{"b/c":"x\u0000"}]}"#),
            Some("/a/0/b~1c".into())
        );
        assert_eq!(pointer(r#"{"a":{"\u0000":1}}"#), Some("/a".into()));
        assert_eq!(pointer(r#"{"a":"\\u0000"}"#), None);
    }

    #[test]
    fn list_for_a_struct_is_refused_with_its_pointer_and_one_in_its_place_is_taken() {
        use crate::api::{Address, BulkBody, RequeueBody};
        fn refused<T: DeserializeOwned>(text: &str) -> Option<Value> {
            let error = parse::<T>(text).err()?;
            assert_eq!(error.code, Code::InvalidBody);
            Some(error.extra["errors"][0]["pointer"].clone())
        }
        for text in ["[]", "[{}]", "[{},false,null]"] {
            assert_eq!(refused::<BulkBody>(text), Some("".into()), "{text}");
        }
        for text in [r#"{"filter":[]}"#, r#"{"filter":[null,null]}"#] {
            assert_eq!(refused::<BulkBody>(text), Some("/filter".into()), "{text}");
            assert_eq!(
                refused::<RequeueBody>(text),
                Some("/filter".into()),
                "{text}"
            );
        }
        assert_eq!(refused::<BulkBody>(r#"{"filter":{},"reason":"[]"}"#), None);
        assert_eq!(refused::<RequeueBody>(r#"{"ids":[1,2]}"#), None);
        let address = r#"{"name":"A","lines":["b [c]"],"city":"D","country":"NO"}"#;
        assert_eq!(refused::<Address>(address), None);
    }

    #[test]
    fn json_deeper_than_the_reader_goes_is_refused_and_not_followed() {
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse::<Value>(&deep(100)).is_ok());
        let error = parse::<Value>(&deep(100_000)).unwrap_err();
        assert_eq!(error.code, Code::InvalidBody);
    }

    #[test]
    fn bad_field_is_named_by_its_pointer() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Inner {
            #[expect(dead_code, reason = "only its type is asked for")]
            count: u32,
        }
        let error =
            parse::<std::collections::BTreeMap<String, Vec<Inner>>>(r#"{"a/b":[{"count":"x"}]}"#)
                .unwrap_err();
        assert_eq!(error.code, Code::InvalidBody);
        assert_eq!(error.extra["errors"][0]["pointer"], "/a~1b/0/count");
    }
}
