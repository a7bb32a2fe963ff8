//! `tombola healthcheck [URL]`: for containers. Asks the server of the data
//! directory over its socket, which is the same whatever it listens on and whether
//! or not that speaks TLS; where there is no socket, the listen address; or the
//! address given.

use super::context::{Context, Usage, data_directory, server_of};
use crate::client::{Api, Call, ClientError};
use crate::doctor::url_of;
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;
use tombola_core::limits::HEALTHCHECK_TIMEOUT;

/// `healthcheck`
#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// Where to ask, as `http://HOST:PORT`; the server of the data directory unless said
    url: Option<String>,
}

pub(super) async fn run(args: HealthcheckArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let (api, path) = whom(args.url.as_deref(), context).await?;
    let (is_ready, said, document) = ask(&api, path).await;
    if context.out.is_json() {
        context.out.json(&document)?;
    } else if is_ready {
        context.out.line(&said)?;
    } else {
        context.out.error(&said);
    }
    Ok(if is_ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Whether it is ready, in a line and as a document.
async fn ask(api: &Api, path: String) -> (bool, String, Value) {
    let asking = api.answer(Call::get(path));
    let answer = match tokio::time::timeout(HEALTHCHECK_TIMEOUT, asking).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return unanswered(&error.to_string()),
        Err(_) => {
            let seconds = HEALTHCHECK_TIMEOUT.as_secs();
            return unanswered(&format!("no answer within {seconds} s"));
        }
    };
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let is_ready = answer.status == 200;
    let said = if is_ready {
        "ready".to_owned()
    } else {
        format!("not ready: {}", amiss(&body, answer.status))
    };
    let document = if body.is_object() {
        body
    } else {
        json!({ "ready": is_ready })
    };
    (is_ready, said, document)
}

fn unanswered(why: &str) -> (bool, String, Value) {
    let document = json!({ "ready": false, "error": why });
    (false, format!("not ready: {why}"), document)
}

/// The checks that are not ok.
fn amiss(body: &Value, status: u16) -> String {
    let checks = body["checks"].as_object().into_iter().flatten();
    let amiss: Vec<String> = checks
        .filter(|(_, state)| *state != "ok")
        .map(|(name, state)| format!("{name}: {}", state.as_str().unwrap_or("?")))
        .collect();
    if amiss.is_empty() {
        format!("status {status}")
    } else {
        amiss.join(", ")
    }
}

async fn whom(url: Option<&str>, context: &Context) -> anyhow::Result<(Api, String)> {
    if let Some(url) = url {
        let (server, path) = split(url);
        let usage = |error: ClientError| Usage(error.to_string());
        return Ok((context.at(server, None).map_err(usage)?, path));
    }
    let path = "/readyz".to_owned();
    if let Some(api) = context.afar()? {
        return Ok((api, path));
    }
    let config = context.load_local()?.config;
    let directory = data_directory(&config);
    if let Some(api) = server_of(&directory).await {
        return Ok((api, path));
    }
    Ok(match url_of(&config.http) {
        Some(url) => (context.at(&url, None)?, path),
        None => (Api::socket(directory.socket()), path),
    })
}

/// `http://h:1/livez` into its server and its path; `/readyz` where it has none.
fn split(url: &str) -> (&str, String) {
    let rest = url.find("://").map_or(0, |at| at + 3);
    match url[rest..].find('/') {
        Some(at) if url.len() > rest + at + 1 => (&url[..rest + at], url[rest + at..].to_owned()),
        Some(_) | None => (url, "/readyz".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn server_that_does_not_answer_is_waited_for_as_long_as_the_bound_says() {
        let silent = axum::Router::new().route(
            "/readyz",
            axum::routing::get(std::future::pending::<&'static str>),
        );
        let began = tokio::time::Instant::now();
        let (is_ready, said, _) = ask(&Api::InProcess(silent), "/readyz".to_owned()).await;
        assert!(!is_ready);
        assert_eq!(said, "not ready: no answer within 5 s");
        assert_eq!(began.elapsed(), HEALTHCHECK_TIMEOUT);
    }

    #[test]
    fn path_of_the_address_is_asked_and_readiness_without_one() {
        for (url, server, path) in [
            ("http://h:1", "http://h:1", "/readyz"),
            ("http://h:1/", "http://h:1/", "/readyz"),
            ("https://h/livez", "https://h", "/livez"),
            ("h:1", "h:1", "/readyz"),
        ] {
            assert_eq!(split(url), (server, path.to_owned()), "{url}");
        }
    }
}
