//! The generator's end of a connection: as little work as HTTP/1.1 allows, so that
//! the cores are left to the server. It reads the status and the length of an
//! answer and passes the body by.

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection that is kept open.
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

/// The bytes of one draw.
pub(crate) fn request(key: &str, request_key: &str, user: &str) -> String {
    let body = format!("{{\"user\":\"{user}\"}}");
    format!(
        "POST /v1/campaigns/bench/draws HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n\
         idempotency-key: {request_key}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

impl Connection {
    pub(crate) async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            read: Vec::with_capacity(4096),
        })
    }

    /// Sends, and gives the status of the answer when all of it was read.
    pub(crate) async fn answer(&mut self, request: &str) -> Result<u16> {
        self.stream.write_all(request.as_bytes()).await?;
        self.read.clear();
        loop {
            if self.stream.read_buf(&mut self.read).await? == 0 {
                bail!("the server hung up");
            }
            if let Some(status) = whole(&self.read)? {
                return Ok(status);
            }
        }
    }
}

/// The status of an answer that has come whole.
fn whole(bytes: &[u8]) -> Result<Option<u16>> {
    let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end])?;
    let status = head.get(9..12).context("a status")?.parse()?;
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .context("a length")?
        .trim()
        .parse()?;
    Ok((bytes.len() >= end + 4 + length).then_some(status))
}
