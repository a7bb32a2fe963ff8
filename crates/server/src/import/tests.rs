//! Code files: what is read of them, in which steps, and where it ends.

use super::*;

fn read(text: &[u8]) -> Result<Vec<(u64, String)>, Wrong> {
    let (steps, mut read) = mpsc::channel(64);
    read_codes(Hashing::new(text), &CodeDigest::PLAIN, &steps)?;
    drop(steps);
    let mut seen = Vec::new();
    while let Ok(step) = read.try_recv() {
        seen.extend(step.lines.into_iter().zip(step.codes));
    }
    seen.sort();
    Ok(seen)
}

fn line_of(text: &[u8]) -> u64 {
    match read(text).unwrap_err() {
        Wrong::Line { line, .. } => line,
        Wrong::File(_) | Wrong::Replaced | Wrong::Store(_) | Wrong::Fault(_) => {
            panic!("no line is named")
        }
    }
}

#[test]
fn heading_blank_lines_and_line_ends_of_all_sorts_are_read() {
    let seen = read(b"code\r\nA-1\r\n\r\n B-2 \n\"C,3\"\n").unwrap();
    assert_eq!(
        seen,
        [(2, "A-1".into()), (4, "B-2".into()), (5, "C,3".into())]
    );
    assert_eq!(read(b"A-1").unwrap(), [(1, "A-1".into())]);
}

#[test]
fn first_bad_line_is_named() {
    assert_eq!(line_of(b"A\nB\nC,D\n"), 3);
    assert_eq!(line_of(b"A\nB\n\xff\n"), 3);
    assert_eq!(line_of(b"A\n\"\"\n"), 2);
    assert_eq!(
        line_of(b"A\n\"B\nC\n"),
        2,
        "a quotation mark that is not closed"
    );
    assert!(matches!(read(b""), Err(Wrong::File(_))));
    assert!(matches!(read(b"code\n"), Err(Wrong::File(_))));
}

fn wrong_with(text: &[u8]) -> Option<String> {
    match read(text) {
        Ok(_) => None,
        Err(Wrong::Line { what, .. } | Wrong::File(what)) => Some(what),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn code_and_line_are_as_long_as_their_bounds_and_no_longer() {
    let code = |bytes| wrong_with("x".repeat(bytes).as_bytes());
    assert_eq!(code(limits::CODE_BYTES_MAX), None);
    let refused = code(limits::CODE_BYTES_MAX + 1);
    assert!(refused.unwrap().starts_with("a code has at most"));
    // A code, spaces that count for the line, and the end of the line.
    let line = |bytes: u64| {
        let spaces = " ".repeat(usize::try_from(bytes).unwrap() - 2);
        wrong_with(format!("x{spaces}\n").as_bytes())
    };
    assert_eq!(line(limits::CODE_LINE_BYTES_MAX), None);
    let refused = line(limits::CODE_LINE_BYTES_MAX + 1);
    assert_eq!(refused.as_deref(), Some("the line is too long"));
}

#[test]
fn file_has_as_many_codes_as_its_bound_and_no_more() {
    let (steps, _read) = mpsc::channel(1);
    let mut gathering = Gathering {
        count: limits::CODES_PER_IMPORT_MAX - 1,
        ..Gathering::new(&CodeDigest::PLAIN, &steps)
    };
    assert!(gathering.take(1, "last".to_owned()).is_ok());
    let beyond = gathering.take(2, "beyond".to_owned());
    assert!(matches!(beyond, Err(Wrong::File(_))), "{beyond:?}");
}

/// A file with so many codes.
fn file(codes: usize) -> String {
    let lines: Vec<String> = (0..codes).map(|n| format!("C-{n}\n")).collect();
    lines.concat()
}

#[test]
fn codes_are_sorted_and_sent_by_as_many_as_are_gathered_in_steps_of_their_bound() {
    let (max, step) = (limits::IMPORT_GATHERED_MAX, limits::STEP_ROWS_MAX);
    let (steps, mut read) = mpsc::channel(2 * max / step);
    let file = file(max + step + 1);
    read_codes(Hashing::new(file.as_bytes()), &CodeDigest::PLAIN, &steps).unwrap();
    let mut sent = Vec::new();
    while let Ok(Step { lines, .. }) = read.try_recv() {
        sent.push(lines);
    }
    let sizes: Vec<usize> = sent.iter().map(Vec::len).collect();
    let mut expected = vec![step; max / step + 1];
    expected.push(1);
    assert_eq!(sizes, expected);
    let first = sent[..max / step].concat().into_iter().max();
    assert_eq!(first, u64::try_from(max).ok());
}

#[tokio::test]
async fn file_is_read_as_many_steps_ahead_of_the_store_as_the_bound_says() {
    let ahead = limits::IMPORT_STEPS_AHEAD_MAX;
    let codes = (ahead + 2) * limits::STEP_ROWS_MAX;
    let (mut read, reading) = read_ahead(Body::from(file(codes)), CodeDigest::PLAIN);
    while read.len() < ahead {
        tokio::task::yield_now().await;
    }
    assert_eq!((read.max_capacity(), reading.is_finished()), (ahead, false));
    let mut steps = 0;
    while read.recv().await.is_some() {
        steps += 1;
    }
    assert_eq!(steps, ahead + 2);
    assert!(reading.await.unwrap().is_ok());
}

/// A body of which nothing comes.
fn standing() -> Body {
    Body::from_stream(futures_util::stream::pending::<io::Result<Bytes>>())
}

#[tokio::test(start_paused = true)]
async fn file_that_stands_still_is_waited_for_as_long_as_the_bound_says() {
    let began = tokio::time::Instant::now();
    let chunk = Box::pin(chunks(standing())).next().await;
    let error = chunk.and_then(Result::err).map(|error| error.kind());
    assert_eq!(error, Some(io::ErrorKind::TimedOut));
    assert_eq!(began.elapsed(), limits::IMPORT_CHUNK_TIMEOUT);
    // Also where it is only compared with the one that was imported.
    assert!(matches!(fingerprint(standing()).await, Err(Wrong::File(_))));
    assert_eq!(began.elapsed(), 2 * limits::IMPORT_CHUNK_TIMEOUT);
}

/// Aim: whoever trickles never stands still; the store takes an import that was begun a
/// day ago for one that nobody runs.
#[tokio::test(start_paused = true)]
async fn file_that_trickles_may_take_as_long_as_the_bound_says() {
    let trickle = futures_util::stream::unfold((), async |()| {
        tokio::time::advance(limits::IMPORT_CHUNK_TIMEOUT / 2).await;
        Some((io::Result::Ok(Bytes::from_static(b"A")), ()))
    });
    let began = tokio::time::Instant::now();
    let mut chunks = Box::pin(chunks(Body::from_stream(trickle)));
    let mut taken = 0;
    while let Some(Ok(_)) = chunks.next().await {
        taken += 1;
    }
    assert_eq!(began.elapsed(), limits::IMPORT_TIME_MAX);
    let pieces = limits::IMPORT_TIME_MAX.as_secs() / (limits::IMPORT_CHUNK_TIMEOUT / 2).as_secs();
    assert_eq!(taken, pieces - 1);
}

#[tokio::test(start_paused = true)]
async fn removal_is_waited_for_as_long_as_the_bound_says() {
    let began = tokio::time::Instant::now();
    wait_for_removal(std::future::ready(())).await;
    assert!(began.elapsed().is_zero());
    wait_for_removal(std::future::pending::<()>()).await;
    assert_eq!(began.elapsed(), limits::IMPORT_REMOVAL_WAIT_MAX);
}
