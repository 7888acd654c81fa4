//! Files behave the same over the operating system and over the lab's disk.

use std::io::ErrorKind;
use std::path::Path;

use asupersync_conformance::on_both_hosts;
use asupersync_core::{CancelKind, Cancelled, Outcome, PanicPayload};
use asupersync_fs::{self as fs, FsError, OpenOptions};
use asupersync_kernel::{Cx, Scope};

#[derive(Debug, thiserror::Error)]
enum FileTestError {
    #[error("stopped")]
    Cancelled(#[from] Cancelled),
    #[error("a child panicked")]
    Panicked(#[from] PanicPayload),
    #[error("no file")]
    Fs(#[from] FsError),
}

type End = Result<(), FileTestError>;

/// Runs a scenario in a folder of its own, on both hosts.
fn check(scenario: impl AsyncFn(&Cx, &Path) -> End + Copy) {
    on_both_hosts(|cx| async move {
        let folder = tempfile::tempdir().expect("a folder can be made");
        // The lab's disk is empty.
        let end = fs::create_dir_all(&cx, folder.path()).await;
        let end = match end {
            Ok(()) => scenario(&cx, folder.path()).await,
            Err(error) => Err(error.into()),
        };
        assert!(end.is_ok(), "the scenario failed: {end:?}");
    });
}

#[test]
fn lines_that_many_tasks_append_are_whole_and_all_there() {
    check(async |cx, folder| {
        let log = folder.join("log");
        let end: Outcome<(), FileTestError> = cx
            .region(async |scope: Scope<'_, FileTestError>| {
                for task in 0..6 {
                    let log = log.clone();
                    scope.spawn(async move |cx: Cx| -> End {
                        let options = OpenOptions::new().append(true).create(true);
                        let file = options.open(&cx, &log).await?;
                        for n in 0..5 {
                            file.write_all(&cx, format!("{task}-{n}\n")).await?;
                        }
                        file.sync_data(&cx).await?;
                        Ok(())
                    });
                }
                Ok::<_, FileTestError>(())
            })
            .await;
        end.flatten()?;
        fs::sync_dir(cx, folder).await?;
        let text = fs::read_to_string(cx, &log).await?;
        let mut lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 30);
        // Each task's own come in its order.
        lines.sort_by_key(|line| line.split_once('-').unwrap().0);
        assert!(lines.is_sorted(), "{lines:?}");
        Ok(())
    });
}

#[test]
fn a_write_of_a_cancelled_task_is_whole_or_was_not_started() {
    check(async |cx, folder| {
        let path = folder.join("f");
        fs::write(cx, &path, "").await?;
        let end: Outcome<(), FileTestError> = cx
            .region(async |scope: Scope<'_, FileTestError>| {
                let own = path.clone();
                let writer = scope.spawn(async move |cx: Cx| -> End {
                    let file = OpenOptions::new().append(true).open(&cx, &own).await?;
                    for _ in 0..20 {
                        file.write_all(&cx, "0123456789").await?;
                    }
                    Ok(())
                });
                scope.cx().yield_now().await?;
                writer.cancel();
                drop(writer.join(scope.cx()).await);
                Ok::<_, FileTestError>(())
            })
            .await;
        end.flatten()?;
        let len = fs::metadata(cx, &path).await?.len;
        assert!(len.is_multiple_of(10) && len <= 200, "{len} bytes");
        Ok(())
    });
}

#[test]
fn a_file_is_replaced_as_a_whole() {
    check(async |cx, folder| {
        let (new, name) = (folder.join("new"), folder.join("name"));
        fs::write(cx, &name, "old").await?;
        let end: Outcome<(), FileTestError> = cx
            .region(async |scope: Scope<'_, FileTestError>| {
                let own = name.clone();
                scope.spawn(async move |cx: Cx| -> End {
                    for _ in 0..10 {
                        let text = fs::read_to_string(&cx, &own).await?;
                        assert!(text == "old" || text == "newer", "{text:?}");
                    }
                    Ok(())
                });
                fs::write(scope.cx(), &new, "newer").await?;
                fs::rename(scope.cx(), &new, &name).await?;
                Ok::<_, FileTestError>(())
            })
            .await;
        end.flatten()?;
        assert_eq!(fs::read_to_string(cx, &name).await?, "newer");
        let gone = fs::read(cx, &new).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
        Ok(())
    });
}

#[test]
fn a_cancelled_region_begins_no_file_operation() {
    check(async |cx, folder| {
        let path = folder.join("f");
        let end: Outcome<(), FsError> = cx
            .region(async |scope: Scope<'_, FsError>| {
                scope.cancel(CancelKind::User);
                fs::write(scope.cx(), &path, "x").await
            })
            .await;
        assert!(end.is_cancelled(), "{end:?}");
        assert!(!fs::exists(cx, &path).await?);
        Ok(())
    });
}
