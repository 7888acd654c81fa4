//! The same programs over the operating system's files and over the lab's disk.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::io::{ErrorKind, Read as _, SeekFrom, Write as _};
use std::path::Path;

use asupersync_core::{CancelKind, Effect, Outcome};
use asupersync_fs::{self as fs, File, FileKind, FsError, FsOperation, FsPort, OpenOptions};
use asupersync_kernel::{Cx, Scope};
use asupersync_lab::{LabConfig, LabRuntime};

type End = Result<(), FsError>;

/// Runs a program in an empty folder, once of the operating system and once of the lab.
#[track_caller]
fn check(program: impl AsyncFn(&Cx, &Path) -> End) {
    let folder = tempfile::tempdir().unwrap();
    let lab = LabRuntime::new(LabConfig::default()).port(FsPort::os());
    let on_os = lab.run(async |cx| program(&cx, folder.path()).await);
    let on_disk = LabRuntime::new(LabConfig::default()).run(async |cx| {
        fs::create_dir_all(&cx, "/of/the/lab").await?;
        program(&cx, Path::new("/of/the/lab")).await
    });
    for report in [on_os, on_disk] {
        report.assert_clean();
        assert!(report.outcome.is_ok(), "{:?}", report.outcome);
    }
}

#[track_caller]
fn failed<T>(result: Result<T, FsError>, operation: FsOperation, kind: ErrorKind) {
    match result.map(|_| ()) {
        Err(FsError::Failed {
            operation: told,
            source,
            ..
        }) => assert_eq!((told, source.kind()), (operation, kind), "{source}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_written_is_read_from_the_place_where_the_file_is() {
    check(async |cx, folder| {
        let path = folder.join("f");
        let options = OpenOptions::new().read(true).write(true).create_new(true);
        let file = options.open(cx, &path).await?;
        file.write_all(cx, "hello, world").await?;
        assert_eq!(file.read(cx, 9).await?, b"");
        assert_eq!(file.seek(cx, SeekFrom::Start(7)).await?, 7);
        assert_eq!(file.read_to_end(cx, 5).await?, b"world");
        assert_eq!(file.seek(cx, SeekFrom::End(-5)).await?, 7);
        file.write_all(cx, "there").await?;
        file.sync_data(cx).await?;
        file.sync_all(cx).await?;
        assert_eq!(fs::read_to_string(cx, &path).await?, "hello, there");
        file.set_len(cx, 5).await?;
        file.set_len(cx, 7).await?;
        assert_eq!(fs::read(cx, &path).await?, b"hello\0\0");
        assert_eq!(file.metadata(cx).await?.len, 7);
        Ok(())
    });
}

#[test]
fn appending_goes_to_the_end_wherever_the_file_was_read() {
    check(async |cx, folder| {
        let path = folder.join("f");
        fs::write(cx, &path, "one").await?;
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .open(cx, &path)
            .await?;
        assert_eq!(file.read(cx, 1).await?, b"o");
        fs::write(cx, &path, "longer").await?;
        file.write_all(cx, "!").await?;
        assert_eq!(fs::read(cx, &path).await?, b"longer!");
        Ok(())
    });
}

#[test]
fn names_are_made_moved_listed_and_removed() {
    check(async |cx, folder| {
        let inner = folder.join("a/b");
        fs::create_dir_all(cx, &inner).await?;
        fs::create_dir_all(cx, &inner).await?;
        fs::write(cx, inner.join("two"), "2").await?;
        fs::write(cx, inner.join("one"), "1").await?;
        let names = fs::read_dir(cx, &inner).await?;
        let names: Vec<_> = names.into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["one", "two"]);
        assert_eq!(fs::metadata(cx, &inner).await?.kind, FileKind::Folder);
        fs::rename(cx, inner.join("one"), inner.join("two")).await?;
        assert_eq!(fs::read(cx, inner.join("two")).await?, b"1");
        assert!(!fs::exists(cx, inner.join("one")).await?);
        fs::sync_dir(cx, &inner).await?;
        failed(
            fs::remove_dir(cx, &inner).await,
            FsOperation::Remove,
            ErrorKind::DirectoryNotEmpty,
        );
        fs::remove_file(cx, inner.join("two")).await?;
        fs::remove_dir(cx, &inner).await?;
        assert!(!fs::exists(cx, &inner).await?);
        Ok(())
    });
}

#[test]
fn errors_say_what_was_to_be_done_to_what() {
    check(async |cx, folder| {
        let none = folder.join("none");
        failed(
            File::open(cx, &none).await,
            FsOperation::Open,
            ErrorKind::NotFound,
        );
        failed(
            fs::read(cx, &none).await,
            FsOperation::Read,
            ErrorKind::NotFound,
        );
        failed(
            fs::remove_file(cx, &none).await,
            FsOperation::Remove,
            ErrorKind::NotFound,
        );
        failed(
            fs::rename(cx, &none, "x").await,
            FsOperation::Rename,
            ErrorKind::NotFound,
        );
        failed(
            fs::sync_dir(cx, &none).await,
            FsOperation::SyncFolder,
            ErrorKind::NotFound,
        );
        failed(
            fs::read_dir(cx, &none).await,
            FsOperation::List,
            ErrorKind::NotFound,
        );
        let below = folder.join("none/at/all");
        failed(
            File::create(cx, &below).await,
            FsOperation::Open,
            ErrorKind::NotFound,
        );
        let file = folder.join("file");
        fs::write(cx, &file, b"\xff\xfe").await?;
        let text = fs::read_to_string(cx, &file).await;
        failed(text, FsOperation::Read, ErrorKind::InvalidData);
        let long = File::open(cx, &file).await?.read_to_end(cx, 1).await;
        failed(long, FsOperation::Read, ErrorKind::FileTooLarge);
        let twice = OpenOptions::new().write(true).create_new(true);
        failed(
            twice.open(cx, &file).await,
            FsOperation::Open,
            ErrorKind::AlreadyExists,
        );
        let message = File::open(cx, &none).await.unwrap_err().to_string();
        assert_eq!(message, format!("could not open `{}`", none.display()));
        Ok(())
    });
}

#[test]
fn a_lock_keeps_others_away_until_the_file_is_closed() {
    check(async |cx, folder| {
        let path = folder.join("f");
        let (one, other) = (
            File::create(cx, &path).await?,
            File::create(cx, &path).await?,
        );
        assert!(one.try_lock(cx).await?);
        assert!(!other.try_lock(cx).await?);
        drop(one);
        assert!(other.try_lock(cx).await?);
        Ok(())
    });
}

#[test]
fn one_job_makes_many_calls() {
    check(async |cx, folder| {
        let (fs, path) = (FsPort::of(cx)?.clone(), folder.join("f"));
        let read = cx.blocking(move || {
            let options = OpenOptions::new().read(true).append(true).create(true);
            let mut file = fs.open(&path, &options)?;
            for _ in 0..3 {
                file.write_all(b"line\n")?;
            }
            file.sync_data()?;
            let mut text = String::new();
            fs.open(&path, &OpenOptions::new().read(true))?
                .read_to_string(&mut text)?;
            Ok::<_, std::io::Error>(text)
        });
        assert_eq!(read.await?.unwrap(), "line\n".repeat(3));
        Ok(())
    });
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_no_file_says_so() {
    let lab = LabRuntime::new(LabConfig::default()).port(FsPort::os());
    let report = lab.run(async |cx| {
        let full = OpenOptions::new()
            .write(true)
            .open(&cx, "/dev/full")
            .await?;
        assert_eq!(full.metadata(&cx).await?.kind, FileKind::Other);
        let error = full.write_all(&cx, "x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(error.effect(), Effect::Unknown);
        Ok::<_, FsError>(())
    });
    report.assert_clean();
    assert!(report.outcome.is_ok(), "{:?}", report.outcome);
}

#[test]
fn a_cancelled_caller_begins_nothing() {
    let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
        let end: Outcome<(), FsError> = cx
            .region(async |scope: Scope<'_, FsError>| {
                scope.cancel(CancelKind::User);
                let error = fs::write(scope.cx(), "f", "x").await.unwrap_err();
                assert!(matches!(error, FsError::Cancelled(_)));
                assert_eq!(error.effect(), Effect::NotStarted);
                Err(error)
            })
            .await;
        assert!(end.is_cancelled());
        fs::exists(&cx, "f").await
    });
    report.assert_clean();
    assert_eq!(report.outcome.ok(), Some(false));
}
