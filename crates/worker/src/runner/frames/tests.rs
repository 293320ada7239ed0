use bytes::Bytes;
use serde::Serialize;
use serde_bytes::ByteBuf;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::runner::messages::CallFrame;

fn frame(message: &impl Serialize) -> Vec<u8> {
    let body = rmp_serde::to_vec_named(message).unwrap();
    let length = u32::try_from(body.len()).unwrap();
    [length.to_be_bytes().to_vec(), body].concat()
}

#[derive(Serialize)]
struct Result<'a> {
    r#type: &'a str,
    id: u64,
    data: ByteBuf,
}

fn result(id: u64, data: &[u8]) -> Vec<u8> {
    frame(&Result { r#type: "result", id, data: ByteBuf::from(data) })
}

#[test]
fn a_call_is_a_map_with_binary_arguments() {
    let call = ToRunner::Call(CallFrame {
        id: 7,
        task_id: "t".into(),
        token: "s".into(),
        args: Bytes::from_static(b"\x80\xff"),
        attempt: 2,
    });
    let frame = encode(&call).unwrap();
    let length = u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize;
    assert_eq!(length, frame.len() - 4);
    // fixmap of 6, "type": "call", …, "args": bin8 of 2 bytes.
    assert_eq!(&frame[4..15], b"\x86\xa4type\xa4call");
    let args = b"\xa4args\xc4\x02\x80\xff";
    assert!(frame.windows(args.len()).any(|window| window == args), "{frame:02x?}");
}

#[test]
fn a_shutdown_has_nothing_but_its_type() {
    let frame = encode(&ToRunner::Shutdown).unwrap();
    assert_eq!(&frame[4..], b"\x81\xa4type\xa8shutdown");
}

#[test]
fn arguments_beyond_the_limit_are_not_sent() {
    let call = ToRunner::Call(CallFrame {
        id: 1,
        task_id: String::new(),
        token: String::new(),
        args: Bytes::from(vec![0; MAX_FRAME_BYTES]),
        attempt: 1,
    });
    assert!(matches!(encode(&call), Err(FrameError::TooLarge(_))));
}

#[tokio::test]
async fn messages_are_read_however_they_are_cut() {
    let stream = [result(1, b"one"), result(2, &[9; 70_000]), result(3, b"")].concat();
    for size in [1, 3, 4096, stream.len()] {
        let (mut writer, reader) = tokio::io::duplex(size);
        let mut frames = FrameReader::new(reader);
        let send = async {
            writer.write_all(&stream).await.unwrap();
            drop(writer);
        };
        let receive = async {
            let mut seen = Vec::new();
            while let Some(message) = frames.next().await.unwrap() {
                seen.push(message);
            }
            seen
        };
        let ((), seen) = tokio::join!(send, receive);
        assert_eq!(seen.len(), 3, "cut at {size}");
        assert_eq!(seen[0], FromRunner::Result { id: 1, data: ByteBuf::from(b"one") });
        assert!(matches!(&seen[1], FromRunner::Result { id: 2, data } if data.len() == 70_000));
    }
}

#[tokio::test]
async fn what_was_read_survives_a_reader_that_is_dropped() {
    let bytes = result(1, b"one");
    let (mut writer, reader) = tokio::io::duplex(1024);
    let mut frames = FrameReader::new(reader);
    writer.write_all(&bytes[..5]).await.unwrap();
    assert!(futures::poll!(Box::pin(frames.next())).is_pending());
    writer.write_all(&bytes[5..]).await.unwrap();
    assert!(matches!(frames.next().await, Ok(Some(FromRunner::Result { id: 1, .. }))));
}

#[tokio::test]
async fn a_socket_that_ends_inside_a_message_is_an_error() {
    let mut frames = FrameReader::new(&b"\x00\x00\x00\x09abc"[..]);
    assert!(matches!(frames.next().await, Err(FrameError::Torn)));
}

#[tokio::test]
async fn a_length_beyond_the_limit_is_refused_before_its_bytes_come() {
    let mut frames = FrameReader::new(&b"\xff\xff\xff\xff"[..]);
    assert!(matches!(frames.next().await, Err(FrameError::TooLarge(_))));
}

#[tokio::test]
async fn what_is_not_messagepack_is_an_error() {
    let mut frames = FrameReader::new(&b"\x00\x00\x00\x02\xc1\xc1"[..]);
    assert!(matches!(frames.next().await, Err(FrameError::Decode(_))));
}

#[tokio::test]
async fn a_message_of_an_unknown_kind_is_passed_over() {
    #[derive(Serialize)]
    struct New<'a> {
        r#type: &'a str,
        surprise: u8,
    }
    let bytes = [frame(&New { r#type: "later", surprise: 1 }), result(4, b"x")].concat();
    let mut frames = FrameReader::new(&bytes[..]);
    assert_eq!(frames.next().await.unwrap(), Some(FromRunner::Unknown));
    assert!(matches!(frames.next().await, Ok(Some(FromRunner::Result { id: 4, .. }))));
}
