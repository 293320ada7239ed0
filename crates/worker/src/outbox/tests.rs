use bytes::Bytes;
use metal9_types::{ContainerId, Failure, FailureKind};
use tempfile::TempDir;

use super::*;
use crate::report::Stream::{Stderr, Stdout};

const A: AttemptId = AttemptId(1);
const B: AttemptId = AttemptId(2);

fn outbox() -> (TempDir, Outbox) {
    let directory = tempfile::tempdir().unwrap();
    let outbox = Outbox::new(directory.path().to_owned());
    (directory, outbox)
}

fn returned(result: Bytes) -> Ended {
    Ended { outcome: Ok(result), phases: Vec::new(), reusable: true }
}

fn gone() -> Report {
    Report::ContainerGone { container: ContainerId(9), reason: "x".into() }
}

/// Everything that can be sent now, in short.
fn sent(outbox: &mut Outbox) -> Vec<String> {
    let mut seen = Vec::new();
    while let Some(next) = outbox.next() {
        seen.push(match next {
            Next::Send(Report::Output { attempt, sequence, text, .. }) => {
                format!("{}:{sequence}:{text}", attempt.0)
            }
            Next::Send(Report::Finished { attempt, last_sequence, result_pushed, .. }) => {
                format!("{}:end:{last_sequence}:{result_pushed}", attempt.0)
            }
            Next::Send(Report::ContainerGone { .. }) => "gone".to_owned(),
            Next::Push { attempt, result } => format!("{}:push:{}", attempt.0, result.len()),
            other @ Next::Send(_) => format!("{other:?}"),
        });
    }
    seen
}

fn write(outbox: &mut Outbox, attempt: AttemptId, text: &str) {
    outbox.output(attempt, Stdout, text.to_owned(), None);
}

#[test]
fn outputs_then_the_end_then_the_container() {
    let (_dir, mut outbox) = outbox();
    outbox.open(A);
    write(&mut outbox, A, "x");
    assert_eq!(sent(&mut outbox), ["1:1:x"]);
    outbox.output(A, Stderr, "y".into(), None);
    outbox.finish(A, returned(Bytes::new()));
    assert_eq!(outbox.follow(A, gone()), None);
    assert_eq!(sent(&mut outbox), ["1:2:y", "1:end:2:false", "gone"]);
    assert!(!outbox.has_next());
}

#[test]
fn what_is_not_acknowledged_is_sent_again_after_a_reconnect() {
    let (_dir, mut outbox) = outbox();
    outbox.open(A);
    for text in ["one", "two", "three"] {
        write(&mut outbox, A, text);
        sent(&mut outbox);
    }
    outbox.finish(A, returned(Bytes::new()));
    sent(&mut outbox);
    outbox.acknowledge(A, 1);
    outbox.rewind();
    assert_eq!(sent(&mut outbox), ["1:2:two", "1:3:three", "1:end:3:false"]);
    outbox.acknowledge(A, 3);
    outbox.rewind();
    assert_eq!(sent(&mut outbox), ["1:end:3:false"], "the end is acknowledged by itself");
    assert_eq!(outbox.forget(A), []);
    outbox.rewind();
    assert!(outbox.is_empty() && !outbox.has_next());
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_drops_nothing() {
    let (_dir, mut outbox) = outbox();
    outbox.open(A);
    write(&mut outbox, A, "x");
    outbox.acknowledge(A, 100);
    assert_eq!(sent(&mut outbox), ["1:1:x"]);
}

#[test]
fn unsent_outputs_of_one_stream_grow_into_one_but_sent_ones_keep_their_text() {
    let (_dir, mut outbox) = outbox();
    outbox.open(A);
    write(&mut outbox, A, "a");
    write(&mut outbox, A, "b");
    outbox.output(A, Stderr, "c".into(), None);
    assert_eq!(sent(&mut outbox), ["1:1:ab", "1:2:c"]);
    outbox.rewind();
    outbox.output(A, Stderr, "d".into(), None);
    assert_eq!(sent(&mut outbox), ["1:1:ab", "1:2:c", "1:3:d"]);
}

#[test]
fn room_is_given_back_when_its_text_is_acknowledged() {
    let (_dir, mut outbox) = outbox();
    let budget = outbox.open(A);
    let before = budget.available_permits();
    for text in ["one", "two"] {
        let room = budget.clone().try_acquire_many_owned(10).unwrap();
        outbox.output(A, Stdout, text.to_owned(), Some(room));
    }
    sent(&mut outbox);
    assert_eq!(budget.available_permits(), before - 20);
    outbox.acknowledge(A, 1);
    assert_eq!(budget.available_permits(), before);
}

#[test]
fn text_beyond_the_memory_limit_goes_to_a_file_and_comes_back_in_order() {
    let (dir, mut outbox) = outbox();
    outbox.open(A);
    let text = |number: u32| format!("{number:05}{}", "x".repeat(40_000));
    for number in 0..100 {
        write(&mut outbox, A, &text(number));
    }
    let files = || std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(files(), 1, "four megabytes do not stay in memory");
    for _ in 0..2 {
        outbox.rewind();
        let seen = sent(&mut outbox);
        assert_eq!(seen.len(), 100);
        for (number, seen) in (0..).zip(seen) {
            assert_eq!(seen, format!("1:{}:{}", number + 1, text(number)));
        }
    }
    outbox.acknowledge(A, 100);
    assert_eq!(files(), 0, "the file goes with its last text");
}

#[test]
fn small_texts_do_not_become_many_entries_in_the_file() {
    let (_dir, mut outbox) = outbox();
    outbox.open(A);
    for _ in 0..40 {
        write(&mut outbox, A, &"x".repeat(60_000));
    }
    let before = sent(&mut outbox).len();
    for _ in 0..100 {
        write(&mut outbox, A, "y");
    }
    let seen = sent(&mut outbox);
    assert_eq!(seen, [format!("1:{}:{}", before + 1, "y".repeat(100))]);
}

#[test]
fn attempts_take_turns() {
    let (_dir, mut outbox) = outbox();
    outbox.open(A);
    outbox.open(B);
    for _ in 0..3 {
        write(&mut outbox, A, &"x".repeat(50_000));
    }
    write(&mut outbox, B, "y");
    let seen: Vec<char> = sent(&mut outbox).iter().filter_map(|text| text.chars().next()).collect();
    assert_eq!(seen, ['1', '2', '1', '1']);
}

#[test]
fn a_large_result_is_pushed_before_the_end_is_sent_in_every_session() {
    let (_dir, mut outbox) = outbox();
    outbox.open(A);
    outbox.finish(A, returned(Bytes::from(vec![0; 2_000_000])));
    assert_eq!(sent(&mut outbox), ["1:push:2000000"]);
    assert!(!outbox.has_next(), "the end waits for the push");
    outbox.pushed(A);
    assert_eq!(sent(&mut outbox), ["1:end:0:true"]);
    outbox.rewind();
    assert_eq!(sent(&mut outbox), ["1:push:2000000"]);
}

#[test]
fn a_result_that_did_not_arrive_is_pushed_again() {
    let (_dir, mut outbox) = outbox();
    outbox.open(A);
    outbox.finish(A, returned(Bytes::from(vec![0; 2_000_000])));
    assert_eq!(sent(&mut outbox), ["1:push:2000000"]);
    outbox.push_again(A);
    assert_eq!(sent(&mut outbox), ["1:push:2000000"]);
    outbox.pushed(A);
    outbox.push_again(A);
    assert_eq!(sent(&mut outbox), ["1:end:0:true"], "what has arrived is not pushed again");
}

#[test]
fn a_failure_is_never_pushed() {
    let (_dir, mut outbox) = outbox();
    outbox.open(A);
    let failure = Failure::new(FailureKind::Exception, "x".repeat(3_000_000));
    outbox.finish(A, Ended::failed(failure, Vec::new()));
    assert_eq!(sent(&mut outbox), ["1:end:0:false"]);
}

#[test]
fn a_stopped_attempt_is_forgotten_once_its_outputs_have_arrived() {
    let (_dir, mut outbox) = outbox();
    outbox.open(A);
    write(&mut outbox, A, "x");
    assert_eq!(outbox.follow(A, gone()), None);
    outbox.close(A);
    assert_eq!(sent(&mut outbox), ["1:1:x", "gone"]);
    assert!(outbox.contains(A));
    outbox.acknowledge(A, 1);
    assert!(outbox.is_empty());
}

#[test]
fn what_follows_an_attempt_that_is_gone_is_given_back() {
    let (_dir, mut outbox) = outbox();
    assert_eq!(outbox.follow(A, gone()), Some(gone()));
    outbox.open(A);
    assert_eq!(outbox.follow(A, gone()), None);
    assert_eq!(outbox.forget(A), [gone()]);
}

#[test]
fn output_of_a_forgotten_attempt_is_dropped() {
    let (_dir, mut outbox) = outbox();
    outbox.open(A);
    outbox.forget(A);
    write(&mut outbox, A, "late");
    assert!(outbox.next().is_none());
}
