//! HTTP/1.1 by hand over one connection that is kept: a load of many threads needs no more, and
//! what goes wrong on the way is seen as it is.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::town::ADMIN;

/// Longer than the server works on a request under any fault here: a caller then takes it for lost.
const PATIENCE: Duration = Duration::from_secs(20);
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

/// An answer, whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The `code` of a problem.
    pub(super) fn code(&self) -> String {
        let code = self.json()["code"].as_str().map(str::to_owned);
        code.unwrap_or_else(|| self.status.to_string())
    }
}

/// What is asked of the API.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// Empty for a read.
    pub(super) request_key: &'a str,
    pub(super) content_type: &'a str,
    pub(super) body: &'a str,
}

impl<'a> Call<'a> {
    pub(super) fn get(path: &'a str) -> Self {
        Self {
            method: "GET",
            path,
            request_key: "",
            content_type: "application/json",
            body: "",
        }
    }

    pub(super) fn post(path: &'a str, request_key: &'a str, body: &'a str) -> Self {
        Self {
            method: "POST",
            request_key,
            body,
            ..Self::get(path)
        }
    }

    fn bytes(self) -> Vec<u8> {
        let Self {
            method,
            path,
            request_key,
            content_type,
            body,
        } = self;
        let key = match request_key {
            "" => String::new(),
            key => format!("idempotency-key: {key}\r\n"),
        };
        let length = body.len();
        format!(
            "{method} {path} HTTP/1.1\r\nhost: scale\r\nauthorization: Bearer {ADMIN}\r\n\
             content-type: {content_type}\r\ncontent-length: {length}\r\n{key}\r\n{body}"
        )
        .into_bytes()
    }
}

/// A connection to one process.
#[derive(Debug)]
pub(super) struct Wire(BufReader<TcpStream>);

impl Wire {
    pub(super) fn connect(address: &str) -> Result<Self> {
        let address: SocketAddr = address.parse()?;
        let stream = TcpStream::connect_timeout(&address, CONNECT_PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// After an error the connection is of no use.
    pub(super) fn call(&mut self, call: Call<'_>) -> Result<Answer> {
        self.0.get_mut().write_all(&call.bytes())?;
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|it| it.parse().ok());
        let status = status.context("no status line")?;
        let mut length = None;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().ok();
            }
        }
        let mut body = vec![0; length.context("an answer without a length")?];
        self.0.read_exact(&mut body)?;
        Ok(Answer { status, body })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line)?;
        ensure!(read > 0, "the connection was closed");
        Ok(line.trim_end().to_owned())
    }
}
