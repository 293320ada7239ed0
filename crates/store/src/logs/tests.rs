use std::io::Write;

use futures::future::join_all;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;

const TASK: TaskId = TaskId(Uuid::from_u128(0xab));
const FIRST: AttemptId = AttemptId(1);
const SECOND: AttemptId = AttemptId(2);

fn open(dir: &TempDir) -> TaskLogs {
    TaskLogs::new(dir.path().to_owned())
}

async fn add(logs: &TaskLogs, attempt: AttemptId, sequence: u64, text: &str) -> Appended {
    logs.append(TASK, attempt, sequence, LogStream::Stdout, text).await.unwrap()
}

async fn all(logs: &TaskLogs) -> String {
    logs.read(TASK, 0, usize::MAX).await.unwrap()
}

fn written(end_offset: u64) -> Appended {
    Appended::Written { end_offset }
}

fn file_of(dir: &TempDir) -> PathBuf {
    path(dir.path(), TASK)
}

#[tokio::test]
async fn a_task_without_output_has_an_empty_log_and_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(&dir);
    assert_eq!(all(&logs).await, "");
    assert_eq!(logs.len(TASK).await.unwrap(), 0);
    assert_eq!(logs.last_sequence(TASK, FIRST).await.unwrap(), 0);
    assert!(!file_of(&dir).exists());
}

#[tokio::test]
async fn a_sequence_is_kept_once_per_attempt_even_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(&dir);
    assert_eq!(add(&logs, FIRST, 1, "one ").await, written(4));
    assert_eq!(add(&logs, FIRST, 1, "one ").await, Appended::Duplicate);
    assert_eq!(add(&logs, FIRST, 3, "three ").await, written(10));
    assert_eq!(add(&logs, FIRST, 2, "two ").await, Appended::Duplicate);
    assert_eq!(add(&logs, SECOND, 1, "again ").await, written(16));

    let logs = open(&dir);
    assert_eq!(add(&logs, FIRST, 3, "three ").await, Appended::Duplicate);
    assert_eq!(add(&logs, SECOND, 1, "again ").await, Appended::Duplicate);
    assert_eq!(add(&logs, FIRST, 4, "four").await, written(20));
    assert_eq!(all(&logs).await, "one three again four");
    assert_eq!(logs.last_sequence(TASK, FIRST).await.unwrap(), 4);
    assert_eq!(logs.last_sequence(TASK, SECOND).await.unwrap(), 1);
}

#[tokio::test]
async fn the_gateways_own_lines_are_never_duplicates() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(&dir);
    for _ in 0..2 {
        logs.append(TASK, AttemptId(0), 0, LogStream::System, "waiting\n").await.unwrap();
    }
    assert_eq!(all(&logs).await, "waiting\nwaiting\n");
}

#[tokio::test]
async fn a_torn_end_is_cut_off_wherever_it_was_torn() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(&dir);
    add(&logs, FIRST, 1, "whole ").await;
    let whole = std::fs::metadata(file_of(&dir)).unwrap().len();
    add(&logs, FIRST, 2, "torn").await;
    let bytes = std::fs::read(file_of(&dir)).unwrap();
    for len in usize::try_from(whole).unwrap()..bytes.len() {
        std::fs::write(file_of(&dir), &bytes[..len]).unwrap();
        let logs = open(&dir);
        assert_eq!(all(&logs).await, "whole ", "{len} bytes");
        assert_eq!(std::fs::metadata(file_of(&dir)).unwrap().len(), whole);
        assert_eq!(add(&logs, FIRST, 2, "mended").await, written(12));
        assert_eq!(all(&open(&dir)).await, "whole mended");
    }
}

#[tokio::test]
async fn a_damaged_last_record_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(&dir);
    add(&logs, FIRST, 1, "whole ").await;
    add(&logs, FIRST, 2, "damaged").await;
    let mut bytes = std::fs::read(file_of(&dir)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(file_of(&dir), &bytes).unwrap();
    let logs = open(&dir);
    assert_eq!(all(&logs).await, "whole ");
    assert_eq!(logs.last_sequence(TASK, FIRST).await.unwrap(), 1);
}

#[tokio::test]
async fn zeros_after_the_end_are_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    add(&open(&dir), FIRST, 1, "whole").await;
    let mut file = std::fs::OpenOptions::new().append(true).open(file_of(&dir)).unwrap();
    file.write_all(&[0; 500]).unwrap();
    let logs = open(&dir);
    assert_eq!(add(&logs, FIRST, 2, "!").await, written(6));
    assert_eq!(all(&open(&dir)).await, "whole!");
}

#[tokio::test]
async fn text_is_read_in_pieces_of_whole_characters() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(&dir);
    let mut expected = String::new();
    for sequence in 1..=3000 {
        let text = format!("línea {sequence} ✓ {}\n", "x".repeat(sequence % 97));
        add(&logs, FIRST, sequence as u64, &text).await;
        expected.push_str(&text);
    }
    for logs in [logs, open(&dir)] {
        for max_bytes in [0, 7, 1000, 70_000] {
            let mut offset = if max_bytes < 10 { expected.len() - 300 } else { 0 };
            while !expected.is_char_boundary(offset) {
                offset += 1;
            }
            let begun = offset;
            let mut found = String::new();
            loop {
                let piece = logs.read(TASK, offset as u64, max_bytes).await.unwrap();
                if piece.is_empty() {
                    break;
                }
                assert!(piece.len() <= max_bytes.max(4));
                offset += piece.len();
                found.push_str(&piece);
            }
            assert!(found == expected[begun..], "in pieces of {max_bytes}");
        }
    }
}

#[tokio::test]
async fn an_offset_inside_a_character_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(&dir);
    add(&logs, FIRST, 1, "✓ done").await;
    let error = logs.read(TASK, 1, 100).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_log_at_its_limit_says_so_once_and_keeps_only_the_gateways_lines() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 1 << 20;
    let logs = TaskLogs::with_limit(dir.path().to_owned(), limit);
    let block = "x".repeat(600_000);
    add(&logs, FIRST, 1, &block).await;
    let notice = "\noutput limit of 1 MiB reached; the rest is not kept\n";
    let end_offset = (block.len() + notice.len()) as u64;
    assert_eq!(add(&logs, FIRST, 2, &block).await, Appended::Truncated { end_offset });
    assert_eq!(add(&logs, FIRST, 3, "x").await, Appended::Truncated { end_offset });
    assert_eq!(logs.last_sequence(TASK, FIRST).await.unwrap(), 3);

    let logs = TaskLogs::with_limit(dir.path().to_owned(), limit);
    assert_eq!(add(&logs, FIRST, 4, "x").await, Appended::Truncated { end_offset });
    logs.append(TASK, FIRST, 0, LogStream::System, "failed\n").await.unwrap();
    assert_eq!(all(&logs).await, format!("{block}{notice}failed\n"));
}

#[tokio::test]
async fn appends_from_many_callers_are_all_kept() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(&dir);
    let lines = (1..=100).map(|attempt| {
        let logs = logs.clone();
        async move { add(&logs, AttemptId(attempt), 1, "line\n").await }
    });
    let outcomes = join_all(lines).await;
    assert!(outcomes.iter().all(|it| matches!(it, Appended::Written { .. })));
    assert_eq!(all(&open(&dir)).await, "line\n".repeat(100));
}

#[tokio::test]
async fn more_tasks_than_are_remembered_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(&dir);
    let id = |number: usize| TaskId(Uuid::from_u128(number as u128));
    add(&logs, FIRST, 1, "early").await;
    for number in 1_000_000..1_000_000 + REMEMBERED + 10 {
        logs.len(id(number)).await.unwrap();
        assert!(logs.known().logs.len() <= REMEMBERED);
    }
    assert!(!logs.known().logs.contains_key(&TASK));
    assert_eq!(add(&logs, FIRST, 1, "early").await, Appended::Duplicate);
    logs.close(TASK);
    assert!(!logs.known().logs.contains_key(&TASK));
    assert_eq!(all(&logs).await, "early");
}

#[tokio::test]
async fn text_that_comes_when_it_is_over_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(&dir);
    let over = Arc::new(AtomicBool::new(false));
    let say = async |text| {
        let over = Arc::clone(&over);
        logs.append_unless(over, TASK, FIRST, 0, LogStream::System, text).await.unwrap()
    };
    assert_eq!(say("kept").await, Some(written(4)));
    over.store(true, Ordering::SeqCst);
    assert_eq!(say("late").await, None);
    assert_eq!(all(&logs).await, "kept");
    assert!(logs.is_idle(TASK));
}

#[tokio::test]
async fn what_metal9_says_begins_a_line_though_the_job_is_in_the_middle_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let say = async |logs: &TaskLogs, text| {
        logs.append(TASK, AttemptId(0), 0, LogStream::System, text).await.unwrap()
    };
    let logs = open(&dir);
    assert_eq!(say(&logs, "waiting\n").await, written(8));
    add(&logs, FIRST, 1, "half a").await;
    // Also one that did not see what is before.
    let logs = open(&dir);
    assert_eq!(say(&logs, "cancelled\n").await, written(25));
    add(&logs, FIRST, 2, " line\n").await;
    say(&logs, "over\n").await;
    assert_eq!(all(&logs).await, "waiting\nhalf a\ncancelled\n line\nover\n");
}

#[tokio::test]
async fn pieces_say_when_and_where_they_were_written() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(&dir);
    let before = crate::clock::now();
    add(&logs, FIRST, 1, "one ").await;
    logs.append(TASK, FIRST, 2, LogStream::Stderr, "two ").await.unwrap();
    logs.append(TASK, AttemptId(0), 0, LogStream::System, "three").await.unwrap();
    let after = crate::clock::now();

    let logs = open(&dir);
    let pieces = logs.pieces(TASK, 0, usize::MAX).await.unwrap();
    let told: Vec<_> = pieces.iter().map(|it| (it.stream, &*it.text, it.end_offset)).collect();
    assert_eq!(
        told,
        [
            (LogStream::Stdout, "one ", 4),
            (LogStream::Stderr, "two ", 8),
            (LogStream::System, "\nthree", 14)
        ]
    );
    assert!(pieces.iter().all(|piece| (before..=after).contains(&piece.at)));
    let rest = logs.pieces(TASK, 6, usize::MAX).await.unwrap();
    assert_eq!((&*rest[0].text, rest.len()), ("o ", 2));
    assert_eq!(logs.pieces(TASK, 4, 1).await.unwrap(), pieces[1..2]);
    assert_eq!(logs.pieces(TASK, 14, 1).await.unwrap(), []);
}
