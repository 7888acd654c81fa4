//! Byte streams whose reader loses its place.

use std::pin::pin;

use asupersync_conformance::on_both_hosts;
use asupersync_core::Outcome;
use asupersync_io::{Encoder, FramedRead, LengthDelimitedCodec, ReadExt, WriteExt, duplex};
use asupersync_kernel::Cx;
use bytes::BytesMut;
use futures_util::future::{Either, select};

use super::{dropped_soon, moment};
use crate::support::End;

const FRAMES: u8 = 20;

/// The bytes of a number of frames, of growing length.
fn wire() -> BytesMut {
    let mut codec = LengthDelimitedCodec::new();
    let mut wire = BytesMut::new();
    for number in 0..FRAMES {
        let frame = vec![number; usize::from(number)];
        codec.encode(&frame[..], &mut wire).expect("it is short");
    }
    wire
}

/// Writes in pieces, so that nearly every frame comes torn.
async fn trickle(cx: Cx, mut writer: impl WriteExt + Unpin) -> End {
    for piece in wire().chunks(3) {
        writer.write_all(piece).await.expect("the reader stays");
        cx.sleep(moment(&cx)).await?;
    }
    Ok(())
}

/// In the field: `read_exact` of a frame's header or body stands in a `select!`; another branch wins after some bytes came, they are dropped with the future, and what follows is read as if it were a header.
/// Here the bytes of a framed stream live in the stream and not in its futures, so whoever gives up on a frame loses none of it.
#[test]
fn a_framed_stream_keeps_its_place_when_a_read_is_given_up() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let (writer, reader) = duplex(16);
                scope.spawn(async move |cx: Cx| trickle(cx, writer).await);
                let mut frames = FramedRead::new(reader, LengthDelimitedCodec::new());
                let (mut next, mut given_up) = (0, 0);
                loop {
                    match dropped_soon(scope.cx(), frames.next()).await {
                        Some(Some(frame)) => {
                            let frame = frame.expect("the stream keeps its place");
                            assert_eq!(frame[..], vec![next; usize::from(next)]);
                            next += 1;
                        }
                        Some(None) => break,
                        None => given_up += 1,
                    }
                }
                assert_eq!(next, FRAMES);
                assert!(given_up > 0, "some reads were given up");
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

/// The same with `read_exact` itself, which cannot keep what it read when it is dropped, and says so: polled by reference it goes on where it was.
#[test]
fn a_read_exact_that_is_polled_by_reference_keeps_its_place() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let (writer, mut reader) = duplex(16);
                scope.spawn(async move |cx: Cx| trickle(cx, writer).await);
                let cx = scope.cx();
                let mut all = vec![0; wire().len()];
                for part in all.chunks_mut(7) {
                    let mut read = reader.read_exact(part);
                    loop {
                        let sleep = pin!(cx.sleep(moment(cx)));
                        match select(&mut read, sleep).await {
                            Either::Left((done, _)) => break done.expect("all of it comes"),
                            Either::Right(_) => {}
                        }
                    }
                }
                assert_eq!(all, wire());
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}
