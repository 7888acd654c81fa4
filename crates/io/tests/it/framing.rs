use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use asupersync_io::{
    AsyncRead, BytesCodec, Decoder, Encoder, FrameError, Framed, FramedRead, FramedWrite,
    LengthDelimitedCodec, LineError, LinesCodec, WriteExt, duplex, fuzz_length_delimited,
    fuzz_lines,
};
use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use crate::support::{Trickle, block_on, join, pieces, poll_once};

fn frames<D: Decoder>(decoder: D, bytes: &[u8]) -> Vec<Result<D::Item, D::Error>> {
    let mut framed = FramedRead::new(pieces(bytes, &[3]), decoder);
    let mut all = Vec::new();
    while let Some(frame) = block_on(framed.next()) {
        all.push(frame);
    }
    assert!(block_on(framed.next()).is_none(), "the end is final");
    all
}

#[test]
fn one_error_for_an_oversized_line_and_then_the_next_line() {
    let lines = frames(
        LinesCodec::new(4),
        b"ok\n12345 and a lot more\r\n1234\r\n\nend",
    );
    let lines: Vec<_> = lines
        .iter()
        .map(|line| line.as_deref().map_err(ToString::to_string))
        .collect();
    let error = Err("a line is longer than the 4 bytes allowed".to_owned());
    assert_eq!(lines, [Ok("ok"), error, Ok("1234"), Ok(""), Ok("end")]);
}

#[test]
fn an_oversized_line_is_reported_before_it_ends() {
    let (mut writer, reader) = duplex(64);
    let mut framed = FramedRead::new(reader, LinesCodec::new(4));
    block_on(writer.write_all(b"12345")).unwrap();
    let frame = poll_once(pin!(framed.next())).expect("certain already");
    assert!(matches!(frame, Some(Err(LineError::TooLong { limit: 4 }))));
    block_on(writer.write_all(&[b'x'; 64])).unwrap();
    assert!(poll_once(pin!(framed.next())).is_none());
    assert!(
        framed.read_buffer().is_empty(),
        "what is skipped is not kept"
    );
}

#[test]
fn texts_that_are_no_single_line_are_refused_and_nothing_is_sent() {
    let mut framed = FramedWrite::new(
        Trickle {
            step: 9,
            ..Trickle::default()
        },
        LinesCodec::new(6),
    );
    for (text, index) in [("a\nb", 1), ("ab\r", 2)] {
        let error = block_on(framed.send(text)).unwrap_err();
        assert!(matches!(error, LineError::LineBreak { index: at } if at == index));
    }
    assert!(matches!(
        block_on(framed.send("1234567")),
        Err(LineError::TooLong { limit: 6 })
    ));
    block_on(framed.send("fine")).unwrap();
    assert_eq!(framed.get_ref().taken, b"fine\n");
}

#[test]
fn hostile_lengths_are_errors_and_take_no_memory() {
    let codec = |width| LengthDelimitedCodec::builder().length_field_bytes(width);
    for width in 1..=8 {
        let mut bytes = BytesMut::from(&[0xff; 9][..]);
        let error = codec(width)
            .max_frame_bytes(100)
            .build()
            .decode(&mut bytes)
            .unwrap_err();
        assert!(
            matches!(error, FrameError::TooLarge { limit: 100, actual } if actual >= 255),
            "{error}"
        );
        // Even without a limit nothing is set aside for what has not come.
        let mut bytes = BytesMut::from(&[0xff; 9][..]);
        let capacity = bytes.capacity();
        match codec(width)
            .max_frame_bytes(usize::MAX)
            .build()
            .decode(&mut bytes)
        {
            Ok(None) | Err(FrameError::TooLarge { .. }) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(bytes.capacity(), capacity);
    }
    let counts_itself = codec(2).length_adjustment(-2).build();
    let all = frames(counts_itself, b"\x00\x03a\x00\x01b");
    assert_eq!(all[0].as_ref().unwrap(), &b"a"[..]);
    assert!(matches!(
        all[1],
        Err(FrameError::NegativeLength {
            value: 1,
            adjustment: -2
        })
    ));
    assert_eq!(all.len(), 2, "after that the stream has no frames");
}

#[test]
fn a_stream_that_ends_within_a_frame_says_so() {
    let all = frames(LengthDelimitedCodec::new(), b"\0\0\0\x01a\0\0\0\x05bc");
    assert_eq!(all[0].as_ref().unwrap(), &b"a"[..]);
    assert!(matches!(all[1], Err(FrameError::Truncated { buffered: 6 })));
}

#[test]
fn lengths_that_do_not_fit_their_field_are_refused() {
    let mut wire = BytesMut::new();
    let mut codec = LengthDelimitedCodec::builder()
        .length_field_bytes(1)
        .build();
    codec.encode([0; 255], &mut wire).unwrap();
    let error = codec.encode([0; 256], &mut wire).unwrap_err();
    assert!(matches!(
        error,
        FrameError::LengthField {
            value: 256,
            width: 1
        }
    ));
    let mut codec = LengthDelimitedCodec::builder()
        .length_field_offset(3)
        .length_adjustment(5)
        .build();
    assert!(matches!(
        codec.encode(b"ab", &mut wire),
        Err(FrameError::HeaderMissing {
            actual: 2,
            header: 3
        })
    ));
    assert!(matches!(
        codec.encode(b"abcd", &mut wire),
        Err(FrameError::LengthField { value: -4, .. })
    ));
    assert_eq!(wire.len(), 256, "what was refused left nothing behind");
}

#[test]
fn a_dropped_next_keeps_the_bytes_of_the_unfinished_frame() {
    let (mut writer, reader) = duplex(64);
    let mut framed = FramedRead::new(reader, LengthDelimitedCodec::new());
    for byte in b"\0\0\0\x03abc" {
        assert!(poll_once(pin!(framed.next())).is_none());
        block_on(writer.write_all(&[*byte])).unwrap();
    }
    assert_eq!(block_on(framed.next()).unwrap().unwrap(), b"abc"[..]);
}

#[test]
fn a_dropped_send_never_tears_a_frame() {
    let mut framed = FramedWrite::new(
        Trickle {
            step: 2,
            ..Trickle::default()
        },
        LinesCodec::new(80),
    );
    // Given up after each possible number of polls; sent whole by a later flush.
    for polls in 0..5 {
        let mut sending = pin!(framed.send("abcdef"));
        for _ in 0..polls {
            assert!(poll_once(sending.as_mut()).is_none());
        }
    }
    block_on(framed.flush()).unwrap();
    assert_eq!(
        framed.get_ref().taken,
        b"abcdef\n".repeat(4),
        "the send that was never polled sent nothing"
    );
}

#[test]
fn senders_wait_at_the_high_water_mark_and_a_dropped_permit_sends_nothing() {
    let blocked = Trickle {
        step: 100,
        blocked: true,
        ..Trickle::default()
    };
    let mut framed = FramedWrite::new(blocked, LinesCodec::new(80)).with_high_water_bytes(10);
    drop(block_on(framed.reserve()).unwrap());
    for _ in 0..2 {
        block_on(framed.feed("12345")).unwrap();
    }
    assert!(
        poll_once(pin!(framed.reserve())).is_none(),
        "12 bytes are waiting"
    );
    assert!(poll_once(pin!(framed.feed("lost with its call"))).is_none());
    assert_eq!(framed.write_buffer(), b"12345\n12345\n");
    framed.get_mut().blocked = false;
    block_on(async { framed.reserve().await.unwrap().put("6").unwrap() });
    block_on(framed.close()).unwrap();
    assert_eq!(framed.get_ref().taken, b"12345\n12345\n6\n");
    assert!(framed.get_ref().closed);
}

#[test]
fn an_encoder_that_fails_or_panics_half_way_leaves_nothing() {
    struct Clumsy;
    impl Encoder<bool> for Clumsy {
        type Error = io::Error;
        fn encode(&mut self, panics: bool, dst: &mut BytesMut) -> io::Result<()> {
            dst.put_slice(b"half a frame");
            assert!(!panics, "an encoder panics");
            Err(io::ErrorKind::InvalidInput.into())
        }
    }
    let mut framed = FramedWrite::new(Trickle::default(), Clumsy);
    block_on(framed.feed(false)).unwrap_err();
    let feed = std::panic::AssertUnwindSafe(|| block_on(framed.feed(true)));
    assert!(std::panic::catch_unwind(feed).is_err());
    assert_eq!(framed.write_buffer(), b"");
}

#[test]
fn a_decoder_that_asks_for_more_than_it_said_is_stopped() {
    struct Greedy;
    impl Decoder for Greedy {
        type Item = ();
        type Error = io::Error;
        fn decode(&mut self, _: &mut BytesMut) -> io::Result<Option<()>> {
            Ok(None)
        }
        fn buffer_bytes_max(&self) -> usize {
            1000
        }
    }
    let all = frames(Greedy, &[0; 5000]);
    assert_eq!(all.len(), 1);
    let error = all[0].as_ref().unwrap_err();
    let error = error.get_ref().and_then(|error| error.downcast_ref());
    assert!(
        matches!(
            error,
            Some(FrameError::Stalled {
                buffered: 1000..1003
            })
        ),
        "{error:?}"
    );
}

#[test]
fn after_a_failure_of_the_stream_reading_can_go_on_without_loss() {
    struct Flaky(Vec<io::Result<&'static [u8]>>);
    impl AsyncRead for Flaky {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            if self.0.is_empty() {
                return Poll::Ready(Ok(0));
            }
            let bytes = self.0.remove(0)?;
            buf[..bytes.len()].copy_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }
    }
    let steps = vec![
        Ok(&b"on"[..]),
        Err(io::ErrorKind::TimedOut.into()),
        Ok(&b"e\ntwo\n"[..]),
    ];
    let mut framed = FramedRead::new(Flaky(steps), LinesCodec::new(80));
    assert!(matches!(
        block_on(framed.next()),
        Some(Err(LineError::Io(_)))
    ));
    assert!(
        block_on(framed.next()).is_none(),
        "a loop over the frames ends"
    );
    assert_eq!(block_on(framed.next()).unwrap().unwrap(), "one");
    assert_eq!(block_on(framed.next()).unwrap().unwrap(), "two");
    assert!(block_on(framed.next()).is_none());
}

#[test]
fn a_dialogue_over_a_narrow_connection_does_not_stall() {
    let (client, server) = duplex(7);
    let mut client = Framed::new(client, LinesCodec::new(200));
    let mut server = Framed::new(server, LinesCodec::new(200));
    let ((), ()) = join(
        async {
            for n in 0..50 {
                client.send(format!("{n}:{}", "x".repeat(n))).await.unwrap();
                assert_eq!(client.next().await.unwrap().unwrap(), format!("echo {n}"));
            }
            client.close().await.unwrap();
            assert!(client.next().await.is_none());
        },
        async {
            while let Some(line) = server.next().await {
                let line = line.unwrap();
                server
                    .send(format!("echo {}", line.split(':').next().unwrap()))
                    .await
                    .unwrap();
            }
            server.close().await.unwrap();
        },
    );
}

#[test]
fn another_codec_takes_over_without_losing_a_byte() {
    let mut framed = Framed::new(pieces(b"UPGRADE\nraw bytes", &[100]), LinesCodec::new(80));
    assert_eq!(block_on(framed.next()).unwrap().unwrap(), "UPGRADE");
    let parts = framed.into_parts();
    let mut framed = Framed::from_parts(asupersync_io::FramedParts {
        io: parts.io,
        codec: BytesCodec,
        read_buf: parts.read_buf,
        write_buf: parts.write_buf,
    });
    assert_eq!(block_on(framed.next()).unwrap().unwrap(), b"raw bytes"[..]);
    assert!(block_on(framed.next()).is_none());
}

proptest! {
    #[test]
    fn no_bytes_break_the_line_decoder(data in prop::collection::vec(
        prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200)) {
        fuzz_lines(&data);
    }

    #[test]
    fn no_bytes_break_the_length_decoder(data in prop::collection::vec(
        prop_oneof![3 => 0u8..8, 1 => any::<u8>()], 0..200)) {
        fuzz_length_delimited(&data);
    }

    #[test]
    fn frames_come_back_as_they_went(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 3..200), 0..20),
        width in 1usize..=8, offset in 0usize..4, adjustment in -9i64..=0, little: bool,
        step in 1usize..50, sizes in prop::collection::vec(0usize..50, 0..6), high_water in 1usize..300,
    ) {
        let builder = LengthDelimitedCodec::builder().length_field_bytes(width).length_field_offset(offset)
            .length_adjustment(adjustment).max_frame_bytes(200);
        let codec = if little { builder.little_endian() } else { builder.big_endian() }.build();
        let trickle = Trickle { step, ..Trickle::default() };
        let mut writer = FramedWrite::new(trickle, codec).with_high_water_bytes(high_water);
        block_on(async {
            for frame in &frames { writer.feed(frame).await.unwrap(); }
            writer.flush().await.unwrap();
        });
        let mut reader = FramedRead::new(pieces(&writer.get_ref().taken, &sizes), codec);
        for frame in &frames {
            prop_assert_eq!(&block_on(reader.next()).unwrap().unwrap()[..], &frame[..]);
        }
        prop_assert!(block_on(reader.next()).is_none());
    }

    #[test]
    fn lines_come_back_as_they_went(lines in prop::collection::vec("[a-zäß\r ]{0,20}", 0..20),
        sizes in prop::collection::vec(0usize..50, 0..6)) {
        let lines: Vec<_> = lines.iter().map(|line| line.trim_end_matches('\r')).collect();
        let mut writer = FramedWrite::new(Trickle { step: 7, ..Trickle::default() }, LinesCodec::new(80));
        block_on(async {
            for line in &lines { writer.send(line).await.unwrap(); }
        });
        let mut reader = FramedRead::new(pieces(&writer.get_ref().taken, &sizes), LinesCodec::new(80));
        for line in &lines {
            prop_assert_eq!(&block_on(reader.next()).unwrap().unwrap(), line);
        }
        prop_assert!(block_on(reader.next()).is_none());
    }
}
