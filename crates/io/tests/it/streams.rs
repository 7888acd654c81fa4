use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use asupersync_io::{
    AsyncRead, BufReadExt, BufReader, BufWriter, LineError, LinesCodec, ReadError, ReadExt,
    WriteExt, copy, copy_buf, duplex,
};
use proptest::prelude::*;

use crate::support::{Trickle, block_on, join, pieces, poll_once};

fn read_error(error: &io::Error) -> Option<ReadError> {
    error.get_ref()?.downcast_ref().copied()
}

#[test]
fn read_exact_says_how_much_came_before_the_end() {
    let mut buf = [0; 8];
    let error = block_on(pieces(b"abc", &[2]).read_exact(&mut buf)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(
        read_error(&error),
        Some(ReadError::EndOfStream {
            filled: 3,
            wanted: 8
        })
    );
}

#[test]
fn read_exact_goes_on_where_it_was_when_polled_by_reference() {
    let (mut writer, mut reader) = duplex(16);
    let mut buf = [0; 6];
    let mut read = reader.read_exact(&mut buf);
    block_on(writer.write_all(b"abc")).unwrap();
    assert!(poll_once(pin!(&mut read)).is_none());
    assert_eq!(read.filled(), 3);
    block_on(writer.write_all(b"def")).unwrap();
    poll_once(pin!(&mut read)).unwrap().unwrap();
    assert_eq!(&buf, b"abcdef");
}

#[test]
fn read_to_end_stops_at_the_limit_and_keeps_what_fits() {
    for limit in 0..12 {
        let mut buf = b"+".to_vec();
        let result = block_on(pieces(b"0123456789", &[3]).read_to_end(&mut buf, limit));
        if limit >= 10 {
            assert_eq!(result.unwrap(), 10);
        } else {
            assert_eq!(
                read_error(&result.unwrap_err()),
                Some(ReadError::LimitExceeded { limit })
            );
        }
        assert_eq!(buf, [b"+", &b"0123456789"[..limit.min(10)]].concat());
    }
}

#[test]
fn read_to_end_takes_memory_only_for_what_comes() {
    struct Endless;
    impl AsyncRead for Endless {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            assert!(
                buf.len() <= 1 << 16,
                "asked for {} bytes at once",
                buf.len()
            );
            buf.fill(1);
            Poll::Ready(Ok(buf.len()))
        }
    }
    let mut buf = Vec::new();
    block_on(Endless.read_to_end(&mut buf, 1 << 20)).unwrap_err();
    assert_eq!(buf.len(), 1 << 20);
    let mut small = Vec::new();
    block_on(pieces(b"x", &[1]).read_to_end(&mut small, usize::MAX)).unwrap();
    assert!(small.capacity() <= 1 << 12);
}

#[test]
fn a_dropped_read_to_end_leaves_what_it_read() {
    let (mut writer, mut reader) = duplex(16);
    let mut buf = Vec::new();
    block_on(writer.write_all(b"abc")).unwrap();
    assert!(poll_once(pin!(reader.read_to_end(&mut buf, 100))).is_none());
    assert_eq!(buf, b"abc", "and no room that was not filled");
}

#[test]
fn a_reader_that_panics_leaves_no_unread_bytes_behind() {
    struct Bomb;
    impl AsyncRead for Bomb {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            panic!("a reader panics");
        }
    }
    let mut buf = b"kept".to_vec();
    let read = std::panic::AssertUnwindSafe(|| block_on(Bomb.read_to_end(&mut buf, 100)));
    assert!(std::panic::catch_unwind(read).is_err());
    assert_eq!(buf, b"kept");
}

#[test]
fn read_to_string_refuses_other_encodings_and_leaves_the_text() {
    let mut text = "before ".to_owned();
    assert_eq!(
        block_on(pieces("größer".as_bytes(), &[1]).read_to_string(&mut text, 100)).unwrap(),
        8
    );
    assert_eq!(text, "before größer");
    let error = block_on(pieces(b"ab\xff", &[2]).read_to_string(&mut text, 100)).unwrap_err();
    assert_eq!(
        read_error(&error),
        Some(ReadError::NotUtf8 { valid_up_to: 2 })
    );
    assert_eq!(text, "before größer");
}

#[test]
fn take_and_chain_meet_at_the_right_byte() {
    let mut reader = BufReader::with_capacity(4, pieces(b"first-rest", &[3]))
        .take(6)
        .chain(&b"second"[..]);
    let mut buf = Vec::new();
    block_on(reader.read_until(b'c', &mut buf, 100)).unwrap();
    assert_eq!(buf, b"first-sec");
    block_on(reader.read_to_end(&mut buf, 100)).unwrap();
    assert_eq!(buf, b"first-second");
    let mut rest = Vec::new();
    block_on(
        reader
            .into_inner()
            .0
            .into_inner()
            .read_to_end(&mut rest, 100),
    )
    .unwrap();
    assert_eq!(rest, b"rest");
}

#[test]
fn read_until_with_a_limit_lets_the_caller_find_the_next_record() {
    let mut reader = BufReader::with_capacity(3, pieces(b"abcdefgh;ij;k", &[2, 5]));
    let mut buf = Vec::new();
    let error = block_on(reader.read_until(b';', &mut buf, 4)).unwrap_err();
    assert_eq!(
        read_error(&error),
        Some(ReadError::LimitExceeded { limit: 4 })
    );
    assert_eq!(buf, b"abcd");
    assert_eq!(block_on(reader.skip_until(b';')).unwrap(), 5);
    buf.clear();
    assert_eq!(block_on(reader.read_until(b';', &mut buf, 3)).unwrap(), 3);
    assert_eq!(buf, b"ij;");
    buf.clear();
    assert_eq!(
        block_on(reader.read_until(b';', &mut buf, 1)).unwrap(),
        1,
        "the end is no excess"
    );
    assert_eq!(block_on(reader.read_until(b';', &mut buf, 1)).unwrap(), 0);
}

#[test]
fn the_end_is_read_once_and_not_waited_for_again() {
    // A stream that would make whoever reads behind its end wait.
    struct Terminal(Vec<&'static [u8]>);
    impl AsyncRead for Terminal {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let Some(bytes) = self.0.pop() else {
                return Poll::Pending;
            };
            buf[..bytes.len()].copy_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }
    }
    let terminal = || BufReader::new(Terminal(vec![b"", b"line"]));
    let mut text = String::new();
    assert_eq!(block_on(terminal().read_line(&mut text, 10)).unwrap(), 4);
    let mut lines = terminal().lines(10);
    assert_eq!(block_on(lines.next_line()).unwrap().unwrap(), "line");
    assert_eq!(block_on(terminal().skip_until(b'x')).unwrap(), 4);
}

#[test]
fn a_dropped_next_line_keeps_the_part_read() {
    let (mut writer, reader) = duplex(64);
    let mut lines = BufReader::new(reader).lines(80);
    block_on(writer.write_all(b"first ha")).unwrap();
    assert!(poll_once(pin!(lines.next_line())).is_none());
    block_on(writer.write_all(b"lf\n")).unwrap();
    assert_eq!(block_on(lines.next_line()).unwrap().unwrap(), "first half");
}

#[test]
fn write_all_vectored_writes_all_in_order() {
    let mut writer = Trickle {
        step: 3,
        ..Trickle::default()
    };
    let mut bufs = [b"" as &[u8], b"ab", b"cdefg", b"", b"h"].map(IoSlice::new);
    block_on(writer.write_all_vectored(&mut bufs)).unwrap();
    assert_eq!(writer.taken, b"abcdefgh");
    block_on(writer.write_all_vectored(&mut [IoSlice::new(b"")])).unwrap();
}

#[test]
fn a_writer_that_takes_nothing_is_an_error() {
    let mut writer = Trickle::default();
    let error = block_on(writer.write_all(b"x")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    let error = block_on(writer.write_all_vectored(&mut [IoSlice::new(b"x")])).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WriteZero);
}

#[test]
fn a_buffered_writer_keeps_its_bytes_through_a_dropped_flush() {
    let mut writer = BufWriter::with_capacity(
        8,
        Trickle {
            step: 1,
            ..Trickle::default()
        },
    );
    block_on(writer.write_all(b"abc")).unwrap();
    assert_eq!(writer.get_ref().taken, b"");
    for _ in 0..3 {
        assert!(poll_once(pin!(writer.flush())).is_none());
    }
    block_on(writer.flush()).unwrap();
    assert_eq!(writer.get_ref().taken, b"abc");
    assert_eq!(writer.get_ref().flushed, 3);
    block_on(writer.write_all(b"0123456789")).unwrap();
    block_on(writer.write_all(b"de")).unwrap();
    let (inner, unwritten) = writer.into_parts();
    assert_eq!([inner.taken, unwritten].concat(), b"abc0123456789de");
}

#[test]
fn copy_flushes_whenever_the_source_makes_it_wait() {
    let (mut source, mut reader) = duplex(64);
    let mut writer = BufWriter::new(Trickle {
        step: 100,
        ..Trickle::default()
    });
    {
        let mut copying = pin!(copy(&mut reader, &mut writer));
        block_on(source.write_all(b"request")).unwrap();
        while poll_once(copying.as_mut()).is_some() {}
        assert!(poll_once(copying.as_mut()).is_none());
    }
    assert_eq!(writer.get_ref().taken, b"request");
    assert!(writer.buffer().is_empty());
}

#[test]
fn a_dropped_copy_buf_leaves_the_unwritten_bytes_in_the_reader() {
    let mut reader = BufReader::new(&b"0123456789"[..]);
    let mut writer = Trickle {
        step: 4,
        ..Trickle::default()
    };
    let count = {
        let mut copying = copy_buf(&mut reader, &mut writer);
        assert!(poll_once(pin!(&mut copying)).is_none());
        assert!(poll_once(pin!(&mut copying)).is_none());
        copying.count()
    };
    assert_eq!(count, 4);
    assert_eq!(writer.taken, b"0123");
    assert_eq!(reader.buffer(), b"456789");
}

#[test]
fn duplex_writers_wait_for_room_and_readers_for_bytes() {
    let (mut client, mut server) = duplex(3);
    let sent: Vec<u8> = (0..=255).collect();
    let mut received = Vec::new();
    let ((), ()) = join(
        async {
            client.write_all(&sent).await.unwrap();
            client.close().await.unwrap();
        },
        async {
            server.read_to_end(&mut received, 1000).await.unwrap();
        },
    );
    assert_eq!(received, sent);
}

#[test]
fn a_dropped_duplex_end_is_the_end_for_readers_and_a_broken_pipe_for_writers() {
    let (mut client, mut server) = duplex(4);
    block_on(client.write_all(b"last")).unwrap();
    let (error, ()) = join(
        async { server.write_all(b"too much to fit").await.unwrap_err() },
        async { drop(client) },
    );
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    let mut buf = Vec::new();
    assert_eq!(block_on(server.read_to_end(&mut buf, 10)).unwrap(), 4);
    let (mut client, mut server) = duplex(4);
    block_on(client.close()).unwrap();
    assert_eq!(
        block_on(client.write_all(b"x")).unwrap_err().kind(),
        io::ErrorKind::BrokenPipe
    );
    block_on(server.write_all(b"back")).unwrap();
    assert_eq!(
        block_on(client.read(&mut [0; 8])).unwrap(),
        4,
        "the other direction is open"
    );
}

/// Lines, with an error by its kind.
fn kind(line: Result<String, LineError>) -> Result<String, &'static str> {
    line.map_err(|error| match error {
        LineError::TooLong { .. } => "too long",
        LineError::NotUtf8 { .. } => "not UTF-8",
        _ => "other",
    })
}

/// What the lines of a stream are, told from its whole text.
fn lines_of(bytes: &[u8], max: usize) -> Vec<Result<String, &'static str>> {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let last = lines.pop().unwrap();
    let mut lines: Vec<&[u8]> = lines
        .into_iter()
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .collect();
    lines.extend((!last.is_empty()).then_some(last));
    let judge = |line: &[u8]| {
        if line.len() > max {
            return Err("too long");
        }
        String::from_utf8(line.to_vec()).map_err(|_| "not UTF-8")
    };
    lines.into_iter().map(judge).collect()
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![5 => Just(b'a'), 2 => Just(b'\n'), 2 => Just(b'\r'), 1 => Just(0xc3), 1 => Just(0xa4)];
    prop::collection::vec(byte, 0..120)
}

proptest! {
    #[test]
    fn lines_are_the_same_however_the_stream_is_cut(
        bytes in text(), max in 0usize..12, sizes in prop::collection::vec(0usize..9, 0..6), capacity in 1usize..10,
    ) {
        let expected = lines_of(&bytes, max);
        let mut lines = BufReader::with_capacity(capacity, pieces(&bytes, &sizes)).lines(max);
        let mut frames = asupersync_io::FramedRead::new(pieces(&bytes, &sizes), LinesCodec::new(max));
        let (mut by_lines, mut by_frames) = (Vec::new(), Vec::new());
        block_on(async {
            while let Some(line) = lines.next_line().await { by_lines.push(kind(line)); }
            while let Some(line) = frames.next().await { by_frames.push(kind(line)); }
        });
        prop_assert_eq!(&by_lines, &expected);
        prop_assert_eq!(&by_frames, &expected);
    }

    #[test]
    fn read_line_gives_back_the_stream(bytes in "[ab\n]{0,60}", sizes in prop::collection::vec(0usize..9, 0..6)) {
        let mut reader = BufReader::with_capacity(4, pieces(bytes.as_bytes(), &sizes));
        let mut text = String::new();
        while block_on(reader.read_line(&mut text, 100)).unwrap() > 0 {}
        prop_assert_eq!(text, bytes);
    }

    #[test]
    fn buffers_and_copies_pass_every_byte_on(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        sizes in prop::collection::vec(0usize..40, 0..6), capacity in 1usize..30, step in 1usize..30,
    ) {
        let mut buffered = BufWriter::with_capacity(capacity, Trickle { step, ..Trickle::default() });
        prop_assert_eq!(block_on(copy(&mut pieces(&bytes, &sizes), &mut buffered)).unwrap(), bytes.len() as u64);
        prop_assert_eq!(&buffered.get_ref().taken, &bytes);
        let mut reader = BufReader::with_capacity(capacity, pieces(&bytes, &sizes));
        let mut writer = Trickle { step, ..Trickle::default() };
        prop_assert_eq!(block_on(copy_buf(&mut reader, &mut writer)).unwrap(), bytes.len() as u64);
        prop_assert_eq!(writer.flushed, bytes.len());
        prop_assert_eq!(&writer.taken, &bytes);
    }
}
