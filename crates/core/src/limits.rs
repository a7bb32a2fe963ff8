//! Every bound of the system, with its unit in its name. A bound that an operator
//! could need is the default of a config key; the relations between bounds are
//! asserted where they stand. `docs/reference/limits.md` says of each what is done past
//! it and which test reaches it.

use std::time::Duration;

/// Prizes in one campaign.
pub const PRIZES_MAX: usize = 200;
/// Sum of weights stays below this, so that a 64-bit roll is exact to 2^-64.
pub const WEIGHT_TOTAL_MAX: u64 = 1 << 40;
/// Bytes of one campaign file.
pub const CAMPAIGN_FILE_BYTES_MAX: usize = 1 << 20;
/// Problems of one campaign file that are told apart; those beyond it are counted.
pub const CAMPAIGN_PROBLEMS_MAX: usize = 100;
/// Bytes of a slug: of a campaign, a prize or an endpoint.
pub const SLUG_BYTES_MAX: usize = 40;
/// Days of a span in a campaign file, such as `claim_within`.
pub const SPAN_DAYS_MAX: u64 = 400;
/// Points of one prize.
pub const POINTS_MAX: u32 = 1_000_000_000;
/// Bytes of the name of a code file in a campaign file.
pub const FILE_NAME_BYTES_MAX: usize = 255;
/// Bytes of `awardId` on the wire, where a prize sets it.
pub const AWARD_ID_BYTES_MAX: usize = 64;
/// Draws asked for by one request.
pub const DRAWS_PER_REQUEST_MAX: u32 = 100;
/// Bytes of a user id.
pub const USER_BYTES_MAX: usize = 128;
/// Visible ASCII characters of a request key, at least and at most.
pub const REQUEST_KEY_CHARS: std::ops::RangeInclusive<usize> = 8..=128;
/// Bytes of a message's value.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of `awardName` on the wire.
pub const AWARD_NAME_BYTES_MAX: usize = 256;
/// Bytes of `awardContent` on the wire.
pub const AWARD_CONTENT_BYTES_MAX: usize = 4096;
/// Bytes of a message that are kept as a dead-letter message.
pub const KEPT_MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Requests that wait in the desk, all campaigns together; beyond it 503.
pub const DESK_WAITING_MAX: usize = 8192;
/// Requests of one campaign that wait in the desk.
pub const DESK_WAITING_PER_CAMPAIGN_MAX: usize = 4096;
/// Draws in one transaction.
pub const DESK_BATCH_DRAWS_MAX: u32 = 1000;
/// A request that waited longer is answered 503 before anything is chosen.
pub const DESK_WAIT_MAX: Duration = Duration::from_secs(2);
/// Ids reserved from the database at a time.
pub const ID_BLOCK: u32 = 10_000;
/// Campaigns with a line of their own in one desk.
pub const DESK_LINES_MAX: usize = 1024;
/// Times one batch is run when the store is away; by its keys it takes effect once.
pub const DESK_COMMIT_TRIES_MAX: u32 = 5;
/// First wait before a batch is run again; each further one is twice as long.
pub const DESK_COMMIT_BACKOFF: Duration = Duration::from_millis(50);
/// What a client that was answered 503 is told to wait.
pub const DESK_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Messages that wait for the relay; a hand-off beyond it is dropped and rescued.
pub const RELAY_WAITING_MAX: usize = 20_000;
/// Messages published in one batch.
pub const RELAY_BATCH_MAX: usize = 1000;
/// Batches that the relay has with the broker at a time; all but the first are full.
pub const RELAY_BATCHES_MAX: usize = 3;
/// A hand-off older than this is dropped by the relay: rescue owns the row soon.
pub const HANDOFF_AGE_MAX: Duration = Duration::from_secs(4);
/// How long a broker may take to report on a message.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_secs(4);
/// Batches of marks that wait while one is written; the next publish waits for them.
pub const RELAY_MARKS_WAITING_MAX: usize = 2;
/// Times a batch of marks is written when the store is away; then rescue publishes
/// again.
pub const MARK_TRIES_MAX: u32 = 4;

/// Copies taken from the topic at a time.
pub const WORKER_POLL_MAX: usize = 500;
/// Calls in flight in one process, all endpoints together.
pub const CALLS_IN_FLIGHT_MAX: usize = 1024;
/// Calls in flight that an endpoint may ask for, in one process.
pub const ENDPOINT_CONCURRENCY_MAX: u32 = 1024;
/// Calls that an endpoint may ask for in the unit of its rate.
pub const ENDPOINT_RATE_MAX: u32 = 1_000_000;
/// Secrets of an endpoint that sign at a time: the newest, and after changes of it
/// those before, until they end. One more is refused: somebody may have no other.
pub const ENDPOINT_SECRETS_MAX: usize = 3;
/// How long an endpoint's secret signs beside the one that takes its place, unless
/// asked otherwise.
pub const SECRET_OVERLAP: Duration = Duration::from_hours(24);
/// The longest that may be asked for.
pub const SECRET_OVERLAP_MAX: Duration = Duration::from_hours(7 * 24);
/// How long a test call waits for its turn at an endpoint with a rate.
pub const ENDPOINT_TEST_WAIT_MAX: Duration = Duration::from_secs(10);
/// Copies in hand whose offset may not move yet; beyond it the partitions pause.
pub const WORKER_IN_HAND_MAX: usize = 4000;
/// Batches of copies that one worker has in the store at a time.
pub const WORKER_BATCHES_MAX: usize = 4;
/// Batches of records that one worker has in the store at a time.
pub const RECORD_BATCHES_MAX: usize = 4;
/// Records written in one batch.
pub const RECORD_BATCH_MAX: usize = 500;
/// Copies that wait in memory for a permit of their lane, one lane and all lanes.
pub const LANE_WAITING_MAX: usize = 256;
/// See [`LANE_WAITING_MAX`].
pub const LANES_WAITING_MAX: usize = 1024;
/// How long a copy waits in memory for a permit before it is set aside.
pub const LANE_WAIT_MAX: Duration = Duration::from_secs(1);
/// How far ahead of its turn a call is claimed.
pub const CALL_AHEAD_MAX: Duration = Duration::from_millis(250);
/// Longest time between two commits of moved offsets.
pub const OFFSET_COMMIT_INTERVAL: Duration = Duration::from_millis(100);
/// How long a commit of offsets may hold the worker up.
pub const OFFSET_COMMIT_TIMEOUT: Duration = Duration::from_secs(1);
/// A commit of offsets that failed is tried again after this long.
pub const OFFSET_COMMIT_AGAIN: Duration = Duration::from_secs(5);
/// How long a worker that stops may take to leave its group.
pub const GROUP_LEAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest time until a change of an endpoint by another process is seen.
pub const ENDPOINT_REFRESH: Duration = Duration::from_secs(2);
/// First wait before a call of the store is made again, and the longest.
pub const STORE_BACKOFF: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(2);

/// Rows read by one step of rescue in one lane.
pub const RESCUE_BATCH_MAX: usize = 500;
/// Longest time between two looks of rescue.
pub const RESCUE_INTERVAL: Duration = Duration::from_secs(1);
/// Shortest time between two looks of rescue.
pub const RESCUE_INTERVAL_MIN: Duration = Duration::from_millis(50);
/// Rows that only wait which rescue passes by in a second, from one round to the next.
pub const RESCUE_PASSED_BY_PER_SECOND: u32 = 8000;
/// Time between two probe batches while the topic's breaker is open.
pub const RESCUE_PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Rows of a probe batch.
pub const RESCUE_PROBE_ROWS: usize = 10;
/// Steps of one round of rescue, all lanes together.
pub const RESCUE_STEPS_MAX: usize = 256;
/// Steps of one lane in one round that found nothing to do.
pub const RESCUE_IDLE_STEPS_MAX: usize = 16;
/// How long rescue waits to hear how far the group has come.
pub const GROUP_POSITION_TIMEOUT: Duration = Duration::from_secs(3);

/// First grace: how long a fresh publish may be on its way before rescue looks.
pub const GRACE_FIRST: Duration = Duration::from_secs(5);
/// Longest grace.
pub const GRACE_MAX: Duration = Duration::from_mins(10);
/// How long a claim holds.
pub const LEASE_TIME: Duration = Duration::from_mins(1);
/// Longest deadline of one call; an endpoint's `timeout` is at most this.
pub const CALL_TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// Beyond the endpoint's own deadline, before a distributor that does not keep it is
/// cut off.
pub const CALL_OVERTIME: Duration = Duration::from_secs(1);
/// Times that it is tried to disable an endpoint that asked for it.
pub const ENDPOINT_DISABLE_TRIES_MAX: u32 = 3;
/// Time allowed to record a decision after its call.
pub const RECORD_ALLOWANCE: Duration = Duration::from_secs(10);
/// First wait after a failed attempt.
pub const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Each further wait is this many times the one before.
pub const RETRY_FACTOR: u32 = 3;
/// Longest wait between attempts.
pub const RETRY_MAX: Duration = Duration::from_hours(1);
/// Waits vary by this many percent, up and down.
pub const JITTER_PERCENT: u32 = 20;
/// Attempts before an award is dead.
pub const ATTEMPTS_MAX: u32 = 12;
/// How long an endpoint may be at fault before its awards are dead.
pub const DEFER_MAX: Duration = Duration::from_hours(7 * 24);
/// A `pending` row is published again after this long, whatever the lag.
pub const REDELIVERY_MAX: Duration = Duration::from_hours(24);
/// A hold without a date of its own is looked at again after this long.
pub const HOLD_REVIEW: Duration = Duration::from_hours(24);
/// `Retry-After` is honoured within these.
pub const RETRY_AFTER: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_hours(1);

/// Failures in a row that open a breaker.
pub const BREAKER_FAILURES_IN_ROW: u32 = 10;
/// Results looked back on; a breaker also opens when half of them failed.
pub const BREAKER_WINDOW: usize = 50;
/// A breaker that opened is half-open after this long, doubling while it fails.
pub const BREAKER_OPEN_FIRST: Duration = Duration::from_secs(10);
/// Longest time a breaker stays open before the next probe.
pub const BREAKER_OPEN_MAX: Duration = Duration::from_mins(5);

/// Bytes kept by the in-memory topic; a full topic refuses.
pub const MEMORY_TOPIC_BYTES_MAX: usize = 256 << 20;
/// Partitions of a topic unless said otherwise.
pub const TOPIC_PARTITIONS: i32 = 8;

/// On PostgreSQL: connections of one process for draws, deliveries and all else that
/// writes, unless asked otherwise; beyond them calls wait.
pub const DATABASE_CONNECTIONS_MAX: u32 = 16;
/// The same for reads for people, who never wait before a draw.
pub const DATABASE_READ_CONNECTIONS_MAX: u32 = 4;
/// Connections of either sort that may be asked for.
pub const DATABASE_CONNECTIONS_ASKED: std::ops::RangeInclusive<u32> = 1..=1000;
/// How long a call waits for one of them before it is told that there is too much to do.
pub const DATABASE_WAIT_MAX: Duration = Duration::from_secs(5);
/// Rows changed by one step of long work.
pub const STEP_ROWS_MAX: usize = 1000;
/// Rows looked at by one step of long work, whether or not they fit.
pub const STEP_ROWS_SEEN_MAX: usize = 20 * STEP_ROWS_MAX;
/// Rows of calls that the SQLite writer commits together.
pub const WRITER_ROWS_MAX: usize = 4000;
/// Calls that wait for the SQLite writer.
pub const WRITER_WAITING_MAX: usize = 4096;
/// How long the SQLite writer gathers and runs calls before it commits.
pub const WRITER_GATHER_MAX: Duration = Duration::from_millis(20);
/// Reads that wait for a connection of the SQLite store.
pub const READS_WAITING_MAX: usize = 256;
/// Bytes of one code.
pub const CODE_BYTES_MAX: usize = 1024;
/// Free codes that one delivery tries when the first does not open.
pub const CODES_TRIED_MAX: i64 = 32;
/// Codes in one file.
pub const CODES_PER_IMPORT_MAX: usize = 10_000_000;
/// Bytes of one line of a code file: a code, quotes around it, the end of the line.
pub const CODE_LINE_BYTES_MAX: u64 = 4096;
/// Codes gathered in memory before they are sorted and given to the store.
pub const IMPORT_GATHERED_MAX: usize = 50 * STEP_ROWS_MAX;
/// Steps of an import read ahead of the store.
pub const IMPORT_STEPS_AHEAD_MAX: usize = 4;
/// How long the next piece of a code file may take to come.
pub const IMPORT_CHUNK_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a code file may take to come, whole.
pub const IMPORT_TIME_MAX: Duration = Duration::from_hours(12);
/// How long the answer waits for the removal of an import that failed.
pub const IMPORT_REMOVAL_WAIT_MAX: Duration = Duration::from_secs(5);
/// Bytes of one HTTP body, code files aside.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// How long an HTTP body may take to come, code files aside.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Campaigns that one key may be for; a key for more is for all.
pub const KEY_CAMPAIGNS_MAX: usize = 100;
/// Bytes of an answer that is kept for the repetition of its request.
pub const KEPT_ANSWER_BYTES_MAX: usize = 4 << 20;
/// How long a player's token is good, unless asked otherwise, and at most.
pub const PLAYER_TOKEN_LIFE: Duration = Duration::from_hours(1);
/// See [`PLAYER_TOKEN_LIFE`].
pub const PLAYER_TOKEN_LIFE_MAX: Duration = Duration::from_hours(24);
/// Bytes of HTTP bodies that are in memory while they come, all requests together;
/// beyond it 503.
pub const BODIES_BYTES_MAX: usize = 64 << 20;
/// Connections open at one listener; beyond it the one that is idle longest is closed.
pub const CONNECTIONS_MAX: u32 = 4096;
/// Of the connections at a listener that is full, the part that is closed at a time:
/// the search for those idle longest is paid once for them all.
pub const CONNECTIONS_SHED_PART: usize = 64;
/// Requests being worked on in one process; beyond it 503. Four times as many as give
/// the desk its full rate on two cores (`bench http`): more would only wait longer.
pub const REQUESTS_MAX: u32 = 512;
/// How long a request may take, long work of operators aside.
pub const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
/// How long the head of a request may take to come.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a connection may wait between two requests; longer than proxies keep
/// theirs, so that it is they who close.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long the handshake of TLS may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may stand still because nobody reads it.
pub const ANSWER_STALL_MAX: Duration = Duration::from_secs(90);
/// How long a connection that is closed before its request was read whole is read on,
/// so that the client sees its answer.
pub const LINGER_MAX: Duration = Duration::from_secs(2);
/// Bytes that are read on at most.
pub const LINGER_BYTES_MAX: usize = 16 << 20;
/// How long a listener that stops waits for connections that do nothing.
pub const STOP_IDLE_MAX: Duration = Duration::from_millis(500);
/// Header lines of one request.
pub const HEADERS_MAX: usize = 64;
/// Bytes of the headers of one request.
pub const HEADERS_BYTES_MAX: usize = 16 * 1024;
/// Bytes of the address of one request.
pub const URI_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a request's head that are kept at all while it comes.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Clients, users or addresses whose rate is remembered; those beyond it are let in.
pub const RATED_MAX: usize = 100_000;
/// Requests between two looks for rates that may be forgotten.
pub const RATED_CHECKS: u32 = 1024;
/// Origins whose pages may call the API.
pub const ORIGINS_MAX: usize = 100;
/// Rows of one page of a list.
pub const PAGE_MAX: usize = 500;
/// Rows of one page of a list unless asked otherwise.
pub const PAGE_DEFAULT: usize = 50;
/// Ids of one span, the stretch of draws that a list reads or passes by as a whole.
/// It is in the database, so it never changes.
pub const SPAN_IDS: i64 = 1 << 12;
/// Grain of the instants that are kept of a span; it never changes either.
pub const SPAN_GRAIN: Duration = Duration::from_mins(10);
/// Rows next to each other that one page of a list reads at most; a page that found
/// too little by then is short, and the next goes on behind it.
pub const PAGE_READ_MAX: i64 = 16 * SPAN_IDS;
/// The same of rows that lie apart: an index leads to each of them.
pub const PAGE_SEEK_MAX: i64 = 1 << 14;
/// Spans that one page of a list looks into for what a user won.
pub const PAGE_SPANS_MAX: i64 = 1 << 12;
/// Unfinished awards that one page of a list puts in order by itself; where there
/// are more, they are found among all awards.
pub const PAGE_SORT_MAX: i64 = 1 << 13;
/// How far a clock may have been set back between two lines of the operator log: a
/// list of it by time looks that much further, and no more.
pub const LOG_CLOCK_BACK_MAX: Duration = Duration::from_hours(24);
/// Exports that run at a time; a further one is answered 503.
pub const EXPORTS_MAX: usize = 4;
/// How long a client may take over one page of an export before it is broken off: the
/// place is for others then.
pub const EXPORT_STALL_MAX: Duration = Duration::from_mins(1);
/// What a client that was answered 503 to an export is told to wait.
pub const EXPORT_RETRY_AFTER: Duration = Duration::from_secs(5);
/// Longest answer of a read for people.
pub const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest audit.
pub const AUDIT_TIMEOUT: Duration = Duration::from_mins(10);
/// Violations of one check that an audit names; all are counted.
pub const AUDIT_EXAMPLES_MAX: usize = 10;
/// Lines of an award's timeline that are shown: the newest, when there are more.
pub const TIMELINE_LINES_MAX: usize = 500;
/// How long a graceful stop may take.
pub const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// Of a stop's deadline, what is kept for writing down what is known.
pub const STOP_RESERVE: Duration = Duration::from_secs(2);
/// Time between two comparisons of the process's clock with the database's.
pub const CLOCK_INTERVAL: Duration = Duration::from_secs(10);
/// A process whose clock is farther off than this is not ready.
pub const CLOCK_OFF_MAX: Duration = Duration::from_secs(2);
/// Campaigns with a series of their own in the metrics.
pub const CAMPAIGN_SERIES_MAX: usize = 200;
/// Bytes of a webhook's answer that are read.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the causes that are kept of a call that failed.
pub const CALL_ERROR_BYTES_MAX: usize = 256;
/// Bytes of a receipt that are kept.
pub const RECEIPT_BYTES_MAX: usize = 4096;
/// Bytes of a reason given by an operator.
pub const REASON_BYTES_MAX: usize = 1024;
/// Bytes of the name of a client of the API.
pub const CLIENT_BYTES_MAX: usize = 64;
/// Lines of an address, beside its name, city and so on.
pub const ADDRESS_LINES_MAX: usize = 6;
/// Bytes of each text of an address.
pub const ADDRESS_TEXT_BYTES_MAX: usize = 256;
/// Bytes of a carrier and of its tracking number.
pub const SHIPMENT_TEXT_BYTES_MAX: usize = 256;
/// The longest time over which a requeue is spread.
pub const REQUEUE_OVER_MAX: Duration = Duration::from_hours(7 * 24);
/// How long a command waits for another one that has the data directory open.
pub const COMMAND_DIRECTORY_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a command waits for a connection to the server.
pub const COMMAND_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Pages that a backup takes in one step (1 MiB), each made durable before the next:
/// a commit of draws never waits for more of a backup than this.
pub const BACKUP_STEP_PAGES: i32 = 512;
/// Pieces of a backup that are read ahead of whoever fetches it.
pub const BACKUP_CHUNKS_AHEAD_MAX: usize = 4;
/// How long whoever fetches a backup may take none of it before it is broken off.
pub const BACKUP_STALL_MAX: Duration = Duration::from_mins(1);
/// Free bytes that a backup leaves on the disk of the data directory.
pub const BACKUP_SPACE_LEFT: u64 = 256 << 20;
/// Awards that wait for an address have at least this long after a restore: what
/// their winners gave since the backup is lost.
pub const RESTORE_ADDRESS_TIME: Duration = Duration::from_hours(7 * 24);
/// Longest look of `doctor` into the database: it reads all of it.
pub const DOCTOR_TIMEOUT: Duration = Duration::from_mins(10);
/// Things of one kind that `doctor` names; the others are counted.
pub const DOCTOR_NAMED_MAX: usize = 10;
/// How long a health check waits for its answer.
pub const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a claim token is good for after the draw.
pub const CLAIM_TOKEN_LIFE: Duration = Duration::from_hours(365 * 24);

// Call deadline plus time to record is less than the lease time: a call that is
// still allowed to run is never taken for lost.
const _: () =
    assert!(CALL_TIMEOUT_MAX.as_secs() + RECORD_ALLOWANCE.as_secs() < LEASE_TIME.as_secs());
// The broker reports, and a hand-off expires, before rescue owns the row.
const _: () = assert!(PUBLISH_TIMEOUT.as_millis() < GRACE_FIRST.as_millis());
const _: () = assert!(HANDOFF_AGE_MAX.as_millis() < GRACE_FIRST.as_millis());
// Copies that wait for permits leave room for those that need none.
const _: () = assert!(LANES_WAITING_MAX + WORKER_POLL_MAX < WORKER_IN_HAND_MAX);
// A claim that waits for its turn still has time for its call and its record.
const _: () = assert!(
    CALL_AHEAD_MAX.as_millis() + CALL_TIMEOUT_MAX.as_millis() + RECORD_ALLOWANCE.as_millis()
        < LEASE_TIME.as_millis()
);
// One endpoint never asks for more calls than a process makes.
const _: () = assert!(ENDPOINT_CONCURRENCY_MAX as usize <= CALLS_IN_FLIGHT_MAX);
// A head that is within its bounds fits into what is kept of it.
const _: () = assert!(URI_BYTES_MAX + HEADERS_BYTES_MAX + 1024 <= HEAD_BYTES_MAX);
// A body that is late is told so before its request is.
const _: () = assert!(BODY_TIMEOUT.as_secs() < REQUEST_TIMEOUT.as_secs());
// A backup that is not taken off is broken off by its own bound.
const _: () = assert!(BACKUP_STALL_MAX.as_secs() < ANSWER_STALL_MAX.as_secs());
// A test call is answered for before its request is.
const _: () = assert!(
    ENDPOINT_TEST_WAIT_MAX.as_secs() + CALL_TIMEOUT_MAX.as_secs() + CALL_OVERTIME.as_secs()
        < REQUEST_TIMEOUT.as_secs()
);
// A connection always stands behind a request: the bound on requests is reached first.
const _: () = assert!(REQUESTS_MAX < CONNECTIONS_MAX);
