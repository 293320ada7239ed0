use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe::{self, Sender};

use super::*;

struct Rig {
    stdout: Sender,
    stderr: Sender,
    pump: Pump,
    events: mpsc::Receiver<Event>,
}

impl Rig {
    fn new() -> Self {
        let (stdout, out) = pipe::pipe().unwrap();
        let (stderr, err) = pipe::pipe().unwrap();
        let (sender, events) = mpsc::channel(64);
        let pump = Pump::start(Some(out), Some(err), sender);
        Self { stdout, stderr, pump, events }
    }

    async fn attach(&self, room: usize) -> Arc<Semaphore> {
        let budget = Arc::new(Semaphore::new(room));
        self.pump.attach(Sink { attempt: AttemptId(1), budget: budget.clone() }).await;
        budget
    }

    /// The next output, with the room it holds.
    async fn next(&mut self) -> (Stream, String, Option<OwnedSemaphorePermit>) {
        match self.events.recv().await {
            Some(Event::Output { stream, text, room, .. }) => (stream, text, room),
            other => panic!("expected an output, got {other:?}"),
        }
    }

    /// Everything told so far, by stream.
    fn told(&mut self) -> (String, String) {
        let (mut out, mut err) = (String::new(), String::new());
        while let Ok(Event::Output { stream, text, .. }) = self.events.try_recv() {
            match stream {
                Stream::Stdout => out.push_str(&text),
                Stream::Stderr => err.push_str(&text),
            }
        }
        (out, err)
    }
}

#[tokio::test]
async fn what_is_written_is_told_at_once() {
    let mut rig = Rig::new();
    rig.attach(BUDGET).await;
    rig.stdout.write_all(b"hello ").await.unwrap();
    assert!(matches!(rig.next().await, (Stream::Stdout, text, Some(_)) if text == "hello "));
    rig.stderr.write_all("wörld".as_bytes()).await.unwrap();
    assert!(matches!(rig.next().await, (Stream::Stderr, text, Some(_)) if text == "wörld"));
}

#[tokio::test]
async fn everything_written_before_the_end_is_told_before_it() {
    let mut rig = Rig::new();
    rig.attach(BUDGET).await;
    for number in 0..200 {
        rig.stdout.write_all(format!("line {number}\n").as_bytes()).await.unwrap();
        rig.stderr.write_all(b"\xe2\x82").await.unwrap();
        rig.pump.finish().await;
        let (out, err) = rig.told();
        assert_eq!(out, format!("line {number}\n"));
        assert_eq!(err, "\u{fffd}");
        rig.attach(BUDGET).await;
    }
}

#[tokio::test]
async fn a_job_without_room_blocks_and_goes_on_when_there_is_some() {
    let mut rig = Rig::new();
    let budget = rig.attach(200).await;
    rig.stdout.write_all(&[b'a'; 100]).await.unwrap();
    let (_, _, room) = rig.next().await;
    rig.stdout.write_all(&[b'b'; 100]).await.unwrap();
    // Who waits for room takes what little there is.
    while budget.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(rig.events.try_recv().is_err(), "there is no room for the second chunk");
    drop(room);
    let (_, text, _) = rig.next().await;
    assert_eq!(text, "b".repeat(100));
}

#[tokio::test]
async fn the_end_of_a_call_does_not_wait_for_room() {
    let mut rig = Rig::new();
    rig.attach(100).await;
    rig.stdout.write_all(b"first").await.unwrap();
    let (_, _, _room) = rig.next().await;
    rig.stdout.write_all(b"second").await.unwrap();
    rig.pump.finish().await;
    let (_, text, room) = rig.next().await;
    assert_eq!((text.as_str(), room.is_none()), ("second", true));
}

#[tokio::test]
async fn text_that_belongs_to_no_call_is_not_told() {
    let mut rig = Rig::new();
    rig.stderr.write_all(b"import warning").await.unwrap();
    assert_eq!(rig.pump.unclaimed().await, "import warning");
    rig.stdout.write_all(b"stray").await.unwrap();
    rig.attach(BUDGET).await;
    rig.stdout.write_all(b"mine").await.unwrap();
    rig.pump.finish().await;
    assert_eq!(rig.told().0, "mine");
}

#[tokio::test]
async fn only_the_end_of_unclaimed_text_is_kept() {
    let rig = Rig::new();
    let mut text = "é".repeat(UNCLAIMED_BYTES);
    text.push_str("the end");
    let (pump, mut stdout) = (rig.pump, rig.stdout);
    stdout.write_all(text.as_bytes()).await.unwrap();
    let kept = pump.unclaimed().await;
    assert!(kept.len() <= UNCLAIMED_BYTES && kept.ends_with("the end"), "{}", kept.len());
}

const BUDGET: usize = 1024 * 1024;
