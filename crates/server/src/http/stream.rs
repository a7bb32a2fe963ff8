//! The bytes of one connection, with patience that ends. Between requests it is
//! bounded how long the next one may take to begin and its head to come; an answer
//! that nobody reads does not stand for ever; and a connection that is closed before
//! its request was read whole is read on for a little, because a client that still
//! writes to a closed one would never see its answer.

use super::seats::Seat;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tombola_core::limits;

/// What a head that does not come in time is answered, before any request is there.
const LATE: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
/// Bytes read on at a time.
const SCRATCH_BYTES: usize = 8192;

/// How long something may take to come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// The head of a request, from its first byte; the first one from the connection.
    pub(super) head: Duration,
    /// The first byte of a further request.
    pub(super) idle: Duration,
}

/// What is waited for between two requests: in which turn, and whether its head has
/// begun.
type Wait = (u64, bool);

/// A stream whose patience ends.
pub(super) struct Patient<S> {
    stream: S,
    seat: Arc<Seat>,
    patience: Patience,
    timer: Option<Pin<Box<Sleep>>>,
    waits_for: Option<Wait>,
    /// The turn in which bytes have come.
    heard: Option<u64>,
    stall: Option<Pin<Box<Sleep>>>,
    linger: Option<Linger>,
}

/// A connection that is closed and read on.
struct Linger {
    end: Pin<Box<Sleep>>,
    bytes: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Patient<S> {
    pub(super) fn new(stream: S, seat: Arc<Seat>, patience: Patience) -> Self {
        Self {
            stream,
            seat,
            patience,
            timer: None,
            waits_for: None,
            heard: None,
            stall: None,
            linger: None,
        }
    }

    /// Ready when the wait of this turn has been too long.
    fn poll_too_long(&mut self, turn: u64, cx: &mut Context<'_>) -> Poll<()> {
        let is_first = self.seat.is_first(turn);
        let is_begun = self.heard == Some(turn) && !is_first;
        let span = if is_first || is_begun {
            self.patience.head
        } else {
            self.patience.idle
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(span)));
        if self.waits_for != Some((turn, is_begun)) {
            self.waits_for = Some((turn, is_begun));
            timer.as_mut().reset(Instant::now() + span);
        }
        timer.as_mut().poll(cx)
    }

    /// Says that the head was late. Nothing else is being written between two
    /// requests; if there is no room for a word, there is none.
    fn say_late(&mut self, cx: &mut Context<'_>) {
        if let Poll::Ready(Ok(_)) = Pin::new(&mut self.stream).poll_write(cx, LATE)
            && let Poll::Ready(Err(error)) = Pin::new(&mut self.stream).poll_flush(cx)
        {
            tracing::debug!(%error, "connection ended");
        }
    }

    /// What a write gave, or an error when it has stood still for too long.
    fn unless_stalled<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.stall.take().is_some() {
                self.seat.stalls(false);
            }
            return written;
        }
        self.seat.stalls(true);
        let stall = self
            .stall
            .get_or_insert_with(|| Box::pin(sleep(limits::ANSWER_STALL_MAX)));
        stall
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Whether the peer may still be writing what nobody will read: the rest of a body,
    /// or of a head that is no HTTP.
    fn is_something_left(&self) -> bool {
        let is_head_left = self.heard.is_some() && self.heard == self.seat.turn();
        is_head_left || self.seat.is_body_left()
    }

    /// Reads on until the peer closes too, within bounds.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| Linger {
            end: Box::pin(sleep(limits::LINGER_MAX)),
            bytes: 0,
        });
        while linger.bytes < limits::LINGER_BYTES_MAX {
            if linger.end.as_mut().poll(cx).is_ready() {
                break;
            }
            let mut scratch = [0; SCRATCH_BYTES];
            let mut scratch = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut scratch));
            let count = scratch.filled().len();
            if read.is_err() || count == 0 {
                break;
            }
            linger.bytes += count;
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let Some(turn) = this.seat.turn() else {
            return read; // a body: it has a deadline of its own
        };
        if read.is_ready() {
            if buffer.filled().len() > before {
                this.heard = Some(turn);
            }
            return read;
        }
        ready!(this.poll_too_long(turn, cx));
        if this.heard == Some(turn) {
            this.say_late(cx);
        }
        Poll::Ready(Ok(())) // as if the peer had closed
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.unless_stalled(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, pieces);
        this.unless_stalled(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        if let Poll::Ready(Ok(())) = flushed {
            this.seat.written();
            // The reader was told that a request is under way and is not asked again
            // before something comes: the wait for the next begins here.
            if let Some(turn) = this.seat.turn()
                && this.poll_too_long(turn, cx).is_ready()
            {
                cx.waker().wake_by_ref();
            }
        }
        this.unless_stalled(flushed, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            let shut = Pin::new(&mut this.stream).poll_shutdown(cx);
            ready!(this.unless_stalled(shut, cx))?;
            if !this.is_something_left() {
                return Poll::Ready(Ok(()));
            }
            this.seat.closes();
        }
        this.poll_linger(cx).map(Ok)
    }
}
