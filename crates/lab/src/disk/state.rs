//! The files and names of one disk: an operation in, a result out.
//!
//! # Rules
//! - Programs see every change of a name at once.
//! - It is durable once its folder was synced; a rename between folders, once either was.
//! - A crash keeps some of the first of the other changes of each folder, in their order, and loses the rest; a rename is kept or lost as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path};

use asupersync_fs::{DirEntry, FileKind, Metadata, OpenOptions};

use super::content::Content;

pub(super) type FileId = u64;
type FolderId = u64;
pub(super) type HandleId = u64;

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    File(FileId),
    Folder(FolderId),
}

#[derive(Default)]
struct Folder {
    live: BTreeMap<OsString, Entry>,
    durable: BTreeMap<OsString, Entry>,
}

#[derive(Default)]
struct File {
    content: Content,
    /// Who holds the lock.
    lock: Option<HandleId>,
}

/// A name of a folder, and what it stands for from now on.
type NameChange = (FolderId, OsString, Option<Entry>);

/// One disk.
pub(super) struct Disk {
    /// Its number in the trace.
    pub(super) resource: u64,
    folders: BTreeMap<FolderId, Folder>,
    files: BTreeMap<FileId, File>,
    /// Changes of names that are not durable, in their order; what stands together happens together.
    pending: Vec<Vec<NameChange>>,
    numbers: u64,
}

impl Disk {
    pub(super) fn new(resource: u64) -> Self {
        Self {
            resource,
            folders: BTreeMap::from([(ROOT, Folder::default())]),
            files: BTreeMap::new(),
            pending: Vec::new(),
            numbers: ROOT,
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    // --- names

    fn entry(&self, path: &Path) -> io::Result<Entry> {
        let mut entry = Entry::Folder(ROOT);
        for name in names(path) {
            let Entry::Folder(folder) = entry else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            let found = self.folder(folder).live.get(name);
            entry = *found.ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(entry)
    }

    fn folder(&self, id: FolderId) -> &Folder {
        self.folders
            .get(&id)
            .expect("a folder stays while the disk runs")
    }

    fn folder_at(&self, path: &Path) -> io::Result<FolderId> {
        match self.entry(path)? {
            Entry::Folder(folder) => Ok(folder),
            Entry::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The folder that a path's last name stands in, and that name.
    fn place(&self, path: &Path) -> io::Result<(FolderId, OsString)> {
        let mut names = names(path);
        let Some(last) = names.pop() else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let folder = self.folder_at(&names.iter().collect::<std::path::PathBuf>())?;
        Ok((folder, last.to_owned()))
    }

    fn change(&mut self, changes: Vec<NameChange>) {
        for (folder, name, entry) in &changes {
            if let Some(folder) = self.folders.get_mut(folder) {
                set(&mut folder.live, name, *entry);
            }
        }
        self.pending.push(changes);
    }

    /// Opens or makes a file.
    pub(super) fn open(&mut self, path: &Path, options: &OpenOptions) -> io::Result<FileId> {
        check(options)?;
        let (folder, name) = self.place(path)?;
        let file = match self.folder(folder).live.get(&name) {
            Some(_) if options.create_new => return Err(io::ErrorKind::AlreadyExists.into()),
            Some(Entry::File(file)) => *file,
            Some(Entry::Folder(_)) => return Err(io::ErrorKind::IsADirectory.into()),
            None if options.create || options.create_new => {
                let file = self.number();
                self.files.insert(file, File::default());
                self.change(vec![(folder, name, Some(Entry::File(file)))]);
                file
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        if options.truncate {
            self.file(file)?.content.set_len(0);
        }
        Ok(file)
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut folder = ROOT;
        for name in names(path) {
            folder = match self.folder(folder).live.get(name) {
                Some(Entry::Folder(inner)) => *inner,
                Some(Entry::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
                None => {
                    let inner = self.number();
                    self.folders.insert(inner, Folder::default());
                    let made = Some(Entry::Folder(inner));
                    self.change(vec![(folder, name.to_owned(), made)]);
                    inner
                }
            };
        }
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let moved = self.entry(from)?;
        let (source, target) = (self.place(from)?, self.place(to)?);
        if source == target {
            return Ok(());
        }
        if names(to).starts_with(&names(from)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match (moved, self.folder(target.0).live.get(&target.1)) {
            (_, None) | (Entry::File(_), Some(Entry::File(_))) => {}
            (Entry::File(_), Some(Entry::Folder(_))) => {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            (Entry::Folder(_), Some(Entry::File(_))) => {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            (Entry::Folder(_), Some(Entry::Folder(replaced))) => self.check_empty(*replaced)?,
        }
        self.change(vec![
            (source.0, source.1, None),
            (target.0, target.1, Some(moved)),
        ]);
        Ok(())
    }

    fn check_empty(&self, folder: FolderId) -> io::Result<()> {
        if self.folder(folder).live.is_empty() {
            return Ok(());
        }
        Err(io::ErrorKind::DirectoryNotEmpty.into())
    }

    pub(super) fn remove(&mut self, path: &Path, kind: FileKind) -> io::Result<()> {
        match (self.entry(path)?, kind) {
            (Entry::File(_), FileKind::Folder) => return Err(io::ErrorKind::NotADirectory.into()),
            (Entry::Folder(_), FileKind::File) => return Err(io::ErrorKind::IsADirectory.into()),
            (Entry::Folder(folder), _) => self.check_empty(folder)?,
            (Entry::File(_), _) => {}
        }
        let (folder, name) = self.place(path)?;
        self.change(vec![(folder, name, None)]);
        Ok(())
    }

    pub(super) fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let folder = self.folder(self.folder_at(path)?);
        let entry = |name: &OsString| DirEntry { name: name.clone() };
        Ok(folder.live.keys().map(entry).collect())
    }

    pub(super) fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        match self.entry(path)? {
            Entry::File(file) => self.file_metadata(file),
            Entry::Folder(_) => Ok(Metadata {
                kind: FileKind::Folder,
                len: 0,
            }),
        }
    }

    /// Makes the changes of a folder's names durable.
    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let folder = self.folder_at(path)?;
        let touches = |changes: &Vec<NameChange>| changes.iter().any(|(own, ..)| *own == folder);
        let (durable, pending) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(touches);
        self.pending = pending;
        self.make_durable(durable);
        Ok(())
    }

    fn make_durable(&mut self, changes: Vec<Vec<NameChange>>) {
        for (folder, name, entry) in changes.into_iter().flatten() {
            if let Some(folder) = self.folders.get_mut(&folder) {
                set(&mut folder.durable, &name, entry);
            }
        }
    }

    // --- files

    fn file(&mut self, id: FileId) -> io::Result<&mut File> {
        self.files
            .get_mut(&id)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn content(&mut self, id: FileId) -> io::Result<&mut Content> {
        Ok(&mut self.file(id)?.content)
    }

    pub(super) fn file_metadata(&self, id: FileId) -> io::Result<Metadata> {
        let file = self.files.get(&id).ok_or(io::ErrorKind::NotFound)?;
        Ok(Metadata {
            kind: FileKind::File,
            len: file.content.live().len() as u64,
        })
    }

    /// Takes a file's lock, unless another handle has it.
    pub(super) fn try_lock(&mut self, id: FileId, handle: HandleId) -> io::Result<bool> {
        let holder = self.file(id)?.lock.get_or_insert(handle);
        Ok(*holder == handle)
    }

    pub(super) fn close(&mut self, id: FileId, handle: HandleId) {
        if let Ok(file) = self.file(id)
            && file.lock == Some(handle)
        {
            file.lock = None;
        }
    }

    // --- crash

    /// The machine goes down; `decide` answers with a number up to the one it is given, and 0 loses most.
    pub(super) fn crash(&mut self, decide: &mut dyn FnMut(u32) -> u32) {
        let mut lost = BTreeSet::new();
        for changes in std::mem::take(&mut self.pending) {
            let hangs_on_lost = changes.iter().any(|(folder, ..)| lost.contains(folder));
            if !hangs_on_lost && decide(1) > 0 {
                self.make_durable(vec![changes]);
            } else {
                lost.extend(changes.iter().map(|(folder, ..)| *folder));
            }
        }
        for folder in self.folders.values_mut() {
            folder.live.clone_from(&folder.durable);
        }
        self.forget_nameless();
        for file in self.files.values_mut() {
            file.lock = None;
            file.content.crash(decide);
        }
    }

    /// Drops what no name leads to.
    fn forget_nameless(&mut self) {
        let (mut folders, mut files) = (BTreeSet::from([ROOT]), BTreeSet::new());
        let mut open = vec![ROOT];
        while let Some(folder) = open.pop() {
            for entry in self.folder(folder).live.values() {
                match entry {
                    Entry::File(file) => {
                        files.insert(*file);
                    }
                    Entry::Folder(inner) if folders.insert(*inner) => open.push(*inner),
                    Entry::Folder(_) => {}
                }
            }
        }
        self.folders.retain(|id, _| folders.contains(id));
        self.files.retain(|id, _| files.contains(id));
    }

    // --- looking from outside

    /// What is in a file: as programs see it, or as a crash that keeps nothing would leave it.
    pub(super) fn look(&self, path: &Path, durable: bool) -> Option<Vec<u8>> {
        let mut entry = Entry::Folder(ROOT);
        for name in names(path) {
            let Entry::Folder(folder) = entry else {
                return None;
            };
            let folder = self.folder(folder);
            let names = if durable {
                &folder.durable
            } else {
                &folder.live
            };
            entry = *names.get(name)?;
        }
        let Entry::File(file) = entry else {
            return None;
        };
        let content = &self.files.get(&file)?.content;
        let bytes = if durable {
            content.durable()
        } else {
            content.live()
        };
        Some(bytes.to_vec())
    }
}

fn set(names: &mut BTreeMap<OsString, Entry>, name: &OsStr, entry: Option<Entry>) {
    match entry {
        Some(entry) => names.insert(name.to_owned(), entry),
        None => names.remove(name),
    };
}

/// The names that lead to a path; a disk's programs work in its root.
fn names(path: &Path) -> Vec<&OsStr> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::ParentDir => {
                names.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    names
}

/// The combinations that operating systems refuse.
fn check(options: &OpenOptions) -> io::Result<()> {
    let makes = options.create || options.create_new;
    let contradicts = options.truncate && options.append && !options.create_new;
    let cannot_write = (makes || options.truncate) && !options.can_write();
    if cannot_write || contradicts || !(options.read || options.can_write()) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(())
}

const ROOT: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    fn write() -> OpenOptions {
        OpenOptions::new().write(true).create(true)
    }

    fn disk_with(path: &str) -> Disk {
        let mut disk = Disk::new(1);
        let file = disk.open(Path::new(path), &write()).unwrap();
        let content = disk.content(file).unwrap();
        content.write(0, b"kept");
        content.sync();
        disk
    }

    fn exists(disk: &Disk, path: &str) -> bool {
        disk.metadata(Path::new(path)).is_ok()
    }

    #[test]
    fn a_name_is_durable_only_once_its_folder_was_synced() {
        let mut disk = disk_with("journal");
        disk.crash(&mut |_| 0);
        assert!(!exists(&disk, "journal"));
        let mut disk = disk_with("journal");
        disk.sync_dir(Path::new("")).unwrap();
        disk.crash(&mut |_| 0);
        assert_eq!(disk.look(Path::new("/journal"), true).unwrap(), b"kept");
    }

    #[test]
    fn a_sync_of_a_folder_is_none_of_another() {
        let mut disk = disk_with("journal");
        disk.create_dir_all(Path::new("folder")).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        disk.open(Path::new("folder/f"), &write()).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        disk.crash(&mut |_| 0);
        assert!(exists(&disk, "folder") && !exists(&disk, "folder/f"));
    }

    #[test]
    fn an_open_that_truncates_empties_and_a_file_without_a_name_is_not_asked_for() {
        let mut disk = disk_with("f");
        let file = disk.open(Path::new("f"), &write().truncate(true)).unwrap();
        assert_eq!(disk.look(Path::new("f"), false).unwrap(), b"");
        disk.content(file).unwrap().write(0, b"unsynced");
        disk.remove(Path::new("f"), FileKind::File).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        disk.crash(&mut |_| panic!("nothing is left to be decided"));
        disk.content(file).map(drop).unwrap_err();
    }

    #[test]
    fn removed_names_come_back_and_renames_are_whole() {
        let mut disk = disk_with("a");
        disk.create_dir_all(Path::new("folder")).unwrap();
        disk.sync_dir(Path::new(".")).unwrap();
        disk.rename(Path::new("a"), Path::new("folder/b")).unwrap();
        assert!(!exists(&disk, "a") && exists(&disk, "folder/b"));
        disk.remove(Path::new("folder/b"), FileKind::File).unwrap();
        // The rename survives, the removal does not.
        let mut answers = [1, 0].into_iter();
        disk.crash(&mut |_| answers.next().unwrap_or_default());
        assert!(!exists(&disk, "a") && exists(&disk, "folder/b"));
    }

    #[test]
    fn what_follows_a_lost_change_of_a_folder_is_lost() {
        let mut disk = disk_with("one");
        disk.open(Path::new("two"), &write()).unwrap();
        let mut answers = [0, 1].into_iter();
        disk.crash(&mut |_| answers.next().unwrap_or_default());
        assert!(!exists(&disk, "one") && !exists(&disk, "two"));
    }

    #[test]
    fn a_lock_has_one_holder_until_it_is_closed_or_the_machine_crashes() {
        let mut disk = disk_with("f");
        let file = disk.open(Path::new("f"), &write()).unwrap();
        assert!(disk.try_lock(file, 1).unwrap());
        assert!(disk.try_lock(file, 1).unwrap());
        assert!(!disk.try_lock(file, 2).unwrap());
        disk.close(file, 2);
        assert!(!disk.try_lock(file, 2).unwrap());
        disk.close(file, 1);
        assert!(disk.try_lock(file, 2).unwrap());
        disk.sync_dir(Path::new("")).unwrap();
        disk.crash(&mut |_| 0);
        assert!(disk.try_lock(file, 3).unwrap());
    }

    #[test]
    fn what_an_operating_system_refuses_is_refused() {
        let mut disk = disk_with("f");
        disk.create_dir_all(Path::new("a/b")).unwrap();
        let kind = |result: io::Result<()>| result.unwrap_err().kind();
        let mut open = |path: &str, options: OpenOptions| {
            let opened = disk.open(Path::new(path), &options);
            opened.map(|_| ()).unwrap_err().kind()
        };
        let read = OpenOptions::new().read(true);
        assert_eq!(open("g", read), io::ErrorKind::NotFound);
        assert_eq!(open("f/g", read), io::ErrorKind::NotADirectory);
        assert_eq!(open("a", read), io::ErrorKind::IsADirectory);
        assert_eq!(open("g", read.create(true)), io::ErrorKind::InvalidInput);
        assert_eq!(open("f", OpenOptions::new()), io::ErrorKind::InvalidInput);
        assert_eq!(
            open("f", write().create_new(true)),
            io::ErrorKind::AlreadyExists
        );
        let into_itself = disk.rename(Path::new("a"), Path::new("a/b/c"));
        assert_eq!(kind(into_itself), io::ErrorKind::InvalidInput);
        let full = disk.remove(Path::new("a"), FileKind::Folder);
        assert_eq!(kind(full), io::ErrorKind::DirectoryNotEmpty);
    }
}
