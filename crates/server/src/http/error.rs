//! The one error of the API: a stable code with its status and title, and what
//! this time was the matter. 5xx bodies are fixed text; their causes go to the
//! log. The doc lines of the codes are the reference page.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::fmt::{self, Write};
use std::time::Duration;
use tombola_core::limits;
use tombola_core::ports::StoreError;

macro_rules! codes {
    ($($(#[doc = $about:literal])+ $variant:ident = $name:literal, $status:ident, $title:literal;)+) => {
        /// The stable codes of errors.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[doc = $about])+ $variant,)+ }

        impl Code {
            /// All of them, in the order of the reference.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name in `code`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// Its HTTP status.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),+ }
            }

            /// Its title.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }

            /// Its paragraph in the reference.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($about, "\n"),+)),+ }
            }
        }
    };
}

codes! {
    /// The request has no key, or one that is unknown, expired or revoked. Send
    /// `Authorization: Bearer tmb_…`; `tombola key list` shows which keys are good.
    Unauthorized = "unauthorized", UNAUTHORIZED, "A key is needed";
    /// The key is good, but its role may not do this, or it is for some campaigns only
    /// and this is about another one or about all. `tombola key create --role …` makes
    /// a key of another role.
    Forbidden = "forbidden", FORBIDDEN, "The key may not do this";
    /// The address is not one of the API's.
    RouteNotFound = "route_not_found", NOT_FOUND, "No such address";
    /// The address is there, but not with this method; `Allow` says which it takes.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "No such method here";
    /// No campaign has that slug.
    CampaignNotFound = "campaign_not_found", NOT_FOUND, "No such campaign";
    /// The campaign has no prize of that slug, or not of the kind that is needed:
    /// codes are for prizes of kind `code`.
    PrizeNotFound = "prize_not_found", NOT_FOUND, "No such prize";
    /// No draw has that id, or it is not one that this key may see.
    DrawNotFound = "draw_not_found", NOT_FOUND, "No such draw";
    /// No award has that id, or it is not one that this key or claim token may see,
    /// or the action is for awards of another kind.
    AwardNotFound = "award_not_found", NOT_FOUND, "No such award";
    /// No endpoint has that name.
    EndpointNotFound = "endpoint_not_found", NOT_FOUND, "No such endpoint";
    /// No key has that id.
    KeyNotFound = "key_not_found", NOT_FOUND, "No such key";
    /// Nobody of that name has drawn or is blocked.
    UserNotFound = "user_not_found", NOT_FOUND, "No such user";
    /// The user is not blocked.
    UserNotBlocked = "user_not_blocked", NOT_FOUND, "The user is not blocked";
    /// This is for databases on SQLite. On PostgreSQL backups are taken by PostgreSQL's
    /// own tools, and a new version of the secret is put into every process's file by
    /// hand: docs/guides/many-processes.md says how.
    SqliteOnly = "sqlite_only", CONFLICT, "Not with PostgreSQL";
    /// No bulk action has that id.
    OperationNotFound = "operation_not_found", NOT_FOUND, "No such operation";
    /// The prize has no finished import of codes with that id.
    ImportNotFound = "import_not_found", NOT_FOUND, "No such import";
    /// No dead letter has that id: a dead award's, or `m<number>` of a kept message.
    DeadLetterNotFound = "dead_letter_not_found", NOT_FOUND, "No such dead letter";
    /// No deliveries of exactly that scope are paused.
    NotPaused = "not_paused", NOT_FOUND, "Nothing of that scope is paused";
    /// Users may draw only while a campaign is `running`; `phase` says what it is
    /// instead: not started yet, not within its period, paused, closed.
    CampaignNotRunning = "campaign_not_running", CONFLICT, "The campaign is not running";
    /// A limit is reached. `limit` says which, `left` how many draws are left under
    /// it, `resets_at` when a daily limit begins anew. Nothing was drawn, also when
    /// more draws were asked for than are left.
    AllowanceExhausted = "allowance_exhausted", CONFLICT, "No draws are left";
    /// An operator has blocked this user.
    UserBlocked = "user_blocked", FORBIDDEN, "The user is blocked";
    /// The request was answered before, and its user was erased since. Nothing is drawn
    /// again under its key.
    UserErased = "user_erased", GONE, "The user was erased";
    /// Awards of the user are on their way (`unfinished` says how many). Cancel them, or
    /// wait until they are delivered, and erase the user then.
    UserUnfinished = "user_unfinished", CONFLICT, "The user has unfinished awards";
    /// The points of this award were taken back before.
    PointsReversed = "points_reversed", CONFLICT, "The points were taken back before";
    /// A worker has the award in hand at this moment; try again after `lease_ends`.
    AwardDelivering = "award_delivering", CONFLICT, "The award is being delivered";
    /// A call of this award may have had its effect. Find out at the endpoint, then
    /// say so: confirm the award if it was delivered, or requeue it with
    /// `"outcome":"not-delivered"`. A holder that was paused may still make its call
    /// after that; no database can prevent it.
    OutcomeUnknown = "outcome_unknown", CONFLICT, "The outcome of a call is unknown";
    /// The action is not possible in the award's state, which `state` names.
    AwardState = "award_state", CONFLICT, "The award's state does not allow it";
    /// The campaign's state, which `state` names, does not allow this step.
    TransitionNotAllowed = "transition_not_allowed", CONFLICT, "The campaign's state does not allow it";
    /// The version was submitted by the one who wants to approve it. The setting
    /// `campaigns.approval` asks for a second person, which means another client name.
    SecondPersonNeeded = "second_person_needed", FORBIDDEN, "A second person has to approve";
    /// The campaign cannot start yet; `problems` says what is missing, each with its
    /// mend.
    CampaignNotReady = "campaign_not_ready", CONFLICT, "The campaign is not ready";
    /// The newest version is submitted, approved or closed (`state` says which) and
    /// cannot be edited: withdraw, refuse or reopen it first.
    CampaignNotEditable = "campaign_not_editable", CONFLICT, "The campaign cannot be edited now";
    /// A prize keeps its kind for ever, because awards of it exist. Give the prize
    /// that `prize` names another slug.
    KindChanged = "kind_changed", CONFLICT, "A prize cannot change its kind";
    /// More would be taken from the stock than the `left` units that are left.
    NotEnoughStock = "not_enough_stock", CONFLICT, "Not enough is left";
    /// The prize is unlimited: it has no stock to change. `stock` in the campaign
    /// file gives it one.
    StockUnlimited = "stock_unlimited", CONFLICT, "The prize has no stock";
    /// Draws, stock and codes need the header `Idempotency-Key`, so that they may be
    /// sent again when an answer is lost: 8 to 128 visible ASCII characters, new for
    /// each request and the same for each repetition of it. Every other POST may have
    /// one.
    RequestKeyMissing = "request_key_missing", BAD_REQUEST, "The header Idempotency-Key is missing";
    /// `Idempotency-Key` has to be 8 to 128 visible ASCII characters.
    RequestKeyInvalid = "request_key_invalid", BAD_REQUEST, "The header Idempotency-Key cannot be used";
    /// This `Idempotency-Key` came before with another request. Nothing was done; use
    /// a new key for a new request.
    RequestKeyReused = "request_key_reused", UNPROCESSABLE_ENTITY, "The request key was used for another request";
    /// A request with this `Idempotency-Key` was worked on at the same time. Send it
    /// again: it gets the answer of the first.
    RequestInProgress = "request_in_progress", CONFLICT, "The same request is being worked on";
    /// One request may ask for 1 to 100 draws.
    CountTooLarge = "count_too_large", UNPROCESSABLE_ENTITY, "Too many draws in one request";
    /// The body is not what this address takes. `errors` holds a JSON pointer for
    /// each bad field, with what is wrong and, where there is one, the mend.
    InvalidBody = "invalid_body", UNPROCESSABLE_ENTITY, "The body cannot be used";
    /// A parameter of the address is unknown or cannot be read; `detail` names it.
    InvalidQuery = "invalid_query", BAD_REQUEST, "The address cannot be used";
    /// The header `Content-Type` has to be `application/json`, or `text/csv` for
    /// codes.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The content type is not taken here";
    /// The body is larger than this address takes: 1 MiB, except for codes.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The body did not come within `http.body_timeout`.
    BodyTimeout = "body_timeout", REQUEST_TIMEOUT, "The body did not come in time";
    /// A line of the code file cannot be used; `line` names the first such line.
    /// Nothing was imported. Codes are 1 to 1,024 bytes, one a line, in the first
    /// column; a first line `code` is a heading. `?skip_duplicates=true` passes by
    /// codes that the campaign has already.
    InvalidCodes = "invalid_codes", UNPROCESSABLE_ENTITY, "The code file cannot be used";
    /// The address of the request is longer than 8 KiB.
    UriTooLong = "uri_too_long", URI_TOO_LONG, "The address is too long";
    /// The request has more than 64 header lines, or more than 16 KiB of them. One with
    /// far more is answered 431 without a body.
    HeadersTooLarge = "headers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too large";
    /// Another import of the same prize began meanwhile and took this one's place.
    /// Nothing of this one is left; send it again when the other is done.
    ImportReplaced = "import_replaced", CONFLICT, "Another import took its place";
    /// An endpoint has as many secrets that sign as it may have, and none is dropped to
    /// make room: a receiver may have no other. Wait until the first of them ends
    /// (`ends_at`), or rotate with `"overlap":"0s"`, which ends all older ones now.
    EndpointSecretsFull = "endpoint_secrets_full", CONFLICT, "No more secrets can sign";
    /// A test call keeps the endpoint's `concurrency` and `rate`, and there was no turn
    /// for it within 10 seconds. No call was made; try again.
    EndpointBusy = "endpoint_busy", CONFLICT, "The endpoint has no turn for a test call";
    /// An endpoint's definition cannot be used; `errors` names the field.
    InvalidEndpoint = "invalid_endpoint", UNPROCESSABLE_ENTITY, "The endpoint cannot be used";
    /// Another backup is under way; one at a time. Send the request again later.
    BackupInProgress = "backup_in_progress", CONFLICT, "A backup is under way";
    /// A backup that is fetched over the API is first written into the data
    /// directory, and its disk has not got that much free space. Free some, or stop
    /// the server and take the backup beside it: then nothing is written there.
    NoSpace = "no_space", INSUFFICIENT_STORAGE, "The data directory has no room for a backup";
    /// Too many requests of one client, of one user, or of one address without a good
    /// key; `limit` names the setting. Nothing was done; send the same request again
    /// after `Retry-After` seconds, with the same `Idempotency-Key`.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "Too many requests";
    /// Too much is waiting, or too many requests are being worked on. Nothing was chosen
    /// or changed; send the same request again after `Retry-After` seconds, with the
    /// same `Idempotency-Key`.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, "Too much is waiting";
    /// The database cannot be reached, or did not answer in time. Whether the request
    /// took effect is unknown: send it again with the same `Idempotency-Key`.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "The database is not available";
    /// The request took longer than `http.request_timeout`. Whether it took effect is
    /// unknown: send it again with the same `Idempotency-Key`; a draw that was taken
    /// then answers what it drew.
    TimedOut = "timed_out", SERVICE_UNAVAILABLE, "The request took too long";
    /// The server is stopping. Nothing was done; send the request to another instance
    /// or again.
    Stopping = "stopping", SERVICE_UNAVAILABLE, "The server is stopping";
    /// Something that the request needs is sealed and does not open: a version is
    /// missing from `secret.key`, or bytes of the database were changed. The log says
    /// which, under the request's id. Put the file back and start the server again.
    Sealed = "sealed", INTERNAL_SERVER_ERROR, "Something sealed does not open";
    /// A fault of the server. The log has its cause under the request's id.
    Internal = "internal", INTERNAL_SERVER_ERROR, "A fault of the server";
}

/// An error answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    /// Which.
    pub code: Code,
    /// What this time was the matter; absent for 5xx.
    pub detail: Option<String>,
    /// Further members of the body.
    pub extra: Map<String, Value>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl From<Code> for ApiError {
    fn from(code: Code) -> Self {
        Self {
            code,
            detail: None,
            extra: Map::new(),
            retry_after: None,
        }
    }
}

impl ApiError {
    /// The error of that code, in these words.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..Self::from(code)
        }
    }

    /// The same with a further member of the body.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.to_owned(), value.into());
        self
    }

    /// The same, to be tried again after that time.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// A field of the body that cannot be used.
    pub fn field(pointer: impl Into<String>, what: impl Into<String>) -> Self {
        let (pointer, what) = (pointer.into(), what.into());
        let detail = if pointer.is_empty() {
            what.clone()
        } else {
            format!("{pointer}: {what}")
        };
        let errors = json!([{ "pointer": pointer, "what": what }]);
        Self::new(Code::InvalidBody, detail).with("errors", errors)
    }

    /// A fault of ours: the cause goes to the log, the caller gets fixed text.
    pub fn internal(cause: &dyn fmt::Display) -> Self {
        tracing::error!(error = %cause, "request failed by a fault of the server");
        Self::from(Code::Internal)
    }

    /// The body, as RFC 9457 says.
    pub fn body(&self, request_id: &str) -> Value {
        let mut body = Map::new();
        body.insert(
            "type".to_owned(),
            format!("urn:tombola:error:{}", self.code.name()).into(),
        );
        body.insert("title".to_owned(), self.code.title().into());
        body.insert("status".to_owned(), self.code.status().as_u16().into());
        body.insert("code".to_owned(), self.code.name().into());
        let is_fault = self.code.status().is_server_error();
        if let Some(detail) = self.detail.as_ref().filter(|_| !is_fault) {
            body.insert("detail".to_owned(), detail.as_str().into());
        }
        body.insert("request_id".to_owned(), request_id.into());
        body.extend(self.extra.clone());
        Value::Object(body)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{}: {detail} ({})", self.code.title(), self.code.name()),
            None => write!(f, "{} ({})", self.code.title(), self.code.name()),
        }
    }
}

impl std::error::Error for ApiError {}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Overloaded => Self::from(Code::Overloaded).after(limits::DESK_RETRY_AFTER),
            StoreError::Unavailable(_) => {
                tracing::error!(error = %error, "database not available");
                Self::from(Code::Unavailable).after(limits::DESK_RETRY_AFTER)
            }
            StoreError::KeyReused => Code::RequestKeyReused.into(),
            StoreError::Closed => Self::from(Code::Stopping).after(limits::DESK_RETRY_AFTER),
            StoreError::Sealed(_) => {
                tracing::error!(error = %error, "request failed by something sealed");
                Code::Sealed.into()
            }
            StoreError::Row(_)
            | StoreError::Inconsistent(_)
            | StoreError::Schema(_)
            | StoreError::Moved(_) => Self::internal(&error),
        }
    }
}

/// The error itself rides on the answer; `super::request` writes the body, for
/// it knows the request's id.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of an error that rides on `response`.
pub(super) fn write_body(response: Response, request_id: &str) -> Response {
    let (mut parts, body) = response.into_parts();
    let Some(error) = parts.extensions.remove::<ApiError>() else {
        return Response::from_parts(parts, body);
    };
    let text = error.body(request_id).to_string();
    parts.headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    parts.headers.remove(header::CONTENT_LENGTH);
    if let Some(wait) = error.retry_after {
        let seconds = wait
            .as_secs()
            .saturating_add(u64::from(wait.subsec_nanos() > 0));
        parts
            .headers
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if error.code == Code::Unauthorized {
        parts
            .headers
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    Response::from_parts(parts, text.into())
}

/// The reference page of the codes.
pub fn page() -> String {
    let mut text = String::from(
        "# Errors\n\n\
         Generated by `tombola reference`; do not edit.\n\n\
         Every error of the API is `application/problem+json` (RFC 9457) with a stable `code`, `title`,\n\
         `status`, `detail` (not with 5xx) and `request_id`. The command line prints title, detail and\n\
         code to stderr and exits with 1.\n",
    );
    for code in Code::ALL {
        let about = code
            .about()
            .lines()
            .map(str::trim)
            .collect::<Vec<_>>()
            .join("\n");
        let (name, status, title) = (code.name(), code.status().as_u16(), code.title());
        write!(text, "\n## `{name}`\n\n{status} {title}.\n\n{about}\n")
            .expect("writing to a text cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_answered_503_is_told_to_wait_as_long_as_the_bound_says() {
        let away = StoreError::Unavailable("away".to_owned());
        for error in [StoreError::Overloaded, away, StoreError::Closed] {
            let error = ApiError::from(error);
            assert_eq!(error.code.status(), StatusCode::SERVICE_UNAVAILABLE);
            let response = write_body(error.into_response(), "r-1");
            let told = response.headers()[header::RETRY_AFTER].to_str().unwrap();
            assert_eq!(told, limits::DESK_RETRY_AFTER.as_secs().to_string());
        }
    }
}
