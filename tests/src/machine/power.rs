//! A disk that can lose its power. Every write and flush is logged by QEMU's storage daemon, so that
//! the disk can be made again as it may have been at any instant: with all that was flushed before,
//! and with some of what was not.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::wait::until;

const SECTOR: u64 = 512;
/// The log's first number, and the flags of its entries, as the kernel's dm-log-writes has them.
const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// A mounted disk whose writes are logged.
#[derive(Debug)]
pub struct RecordedDisk {
    /// Where its image and its log are.
    folder: PathBuf,
    mounted: PathBuf,
    device: String,
    daemon: Child,
    bytes: u64,
    /// How long the log was when the disk was ready.
    made: u64,
}

/// What was written to a disk, in order.
#[derive(Debug)]
pub struct WriteLog {
    file: PathBuf,
    bytes: u64,
    made: u64,
}

fn run(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output().with_context(|| program.to_owned())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{program} {args:?} (are you root?): {said}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

impl RecordedDisk {
    /// Makes a disk of this many MiB with ext4 and mounts it. Its image and its log are put into
    /// `folder`. Needs root.
    pub async fn mount(folder: &Path, at: &Path, mib: u64) -> Result<Self> {
        fs::create_dir_all(folder)?;
        fs::create_dir_all(at)?;
        let [image, log, export] = ["image", "log", "export"].map(|name| folder.join(name));
        let bytes = mib << 20;
        File::create(&image)?.set_len(bytes)?;
        File::create(&log)?;
        File::create(&export)?;
        let file = |name: &str, path: &Path| {
            format!("driver=file,node-name={name},filename={}", path.display())
        };
        let daemon = Command::new("qemu-storage-daemon")
            .args(["--blockdev", &file("image", &image), "--blockdev", &file("log", &log)])
            .args(["--blockdev", "driver=blklogwrites,node-name=logged,file=image,log=log"])
            .arg("--export")
            .arg(format!(
                "type=fuse,id=export,node-name=logged,writable=on,mountpoint={}",
                export.display()
            ))
            .stdin(Stdio::null())
            .spawn()
            .context("qemu-storage-daemon (of the package qemu-utils) is needed")?;
        let mut disk = Self {
            folder: folder.to_owned(),
            mounted: at.to_owned(),
            device: String::new(),
            daemon,
            bytes,
            made: 0,
        };
        until("the disk", async || Ok((fs::metadata(&export)?.len() == bytes).then_some(())))
            .await?;
        disk.device = run("losetup", &["--find", "--show", &export.display().to_string()])?;
        run("mkfs.ext4", &["-q", "-E", "nodiscard", &disk.device])?;
        run("mount", &[&disk.device, &at.display().to_string()])?;
        run("sync", &["--file-system", &at.display().to_string()])?;
        disk.made = disk.logged()?;
        Ok(disk)
    }

    /// How long the log is by now.
    pub fn logged(&self) -> Result<u64> {
        Ok(fs::metadata(self.folder.join("log"))?.len())
    }

    /// Ends the disk and gives what was written to it. Nobody may use it any more.
    pub fn stop(mut self) -> Result<WriteLog> {
        run("umount", &[&self.mounted.display().to_string()])?;
        run("losetup", &["--detach", &self.device])?;
        self.device.clear();
        run("kill", &["-TERM", &self.daemon.id().to_string()])?;
        self.daemon.wait()?;
        Ok(WriteLog { file: self.folder.join("log"), bytes: self.bytes, made: self.made })
    }
}

impl Drop for RecordedDisk {
    fn drop(&mut self) {
        // Where it was stopped, there is nothing to be undone.
        if !self.device.is_empty() {
            let _ = Command::new("umount").arg("--lazy").arg(&self.mounted).status();
            let _ = Command::new("losetup").args(["--detach", &self.device]).status();
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// An entry of the log. Its data follow it, if it has any.
#[derive(Debug, Clone, Copy)]
struct Entry {
    sector: u64,
    sectors: u64,
    flags: u64,
    /// Where its data begin in the log.
    data: u64,
}

impl Entry {
    const fn has_data(self) -> bool {
        self.sectors > 0 && self.flags & DISCARD == 0
    }
}

fn numbers<const N: usize>(log: &mut File) -> Result<[u64; N]> {
    let mut found = [0; N];
    for number in &mut found {
        let mut bytes = [0; 8];
        log.read_exact(&mut bytes)?;
        *number = u64::from_le_bytes(bytes);
    }
    Ok(found)
}

impl WriteLog {
    /// How long the log was when the disk was empty and ready.
    pub const fn made(&self) -> u64 {
        self.made
    }

    /// Makes the image of the disk as the loss of power may have left it when the log was so long:
    /// every write before the last flush is there, and each later one or not, as `chance` has it.
    pub fn image_at(
        &self,
        length: u64,
        image: &Path,
        mut chance: impl FnMut() -> bool,
    ) -> Result<()> {
        let mut log = File::open(&self.file)?;
        let entries = entries(&mut log, length)?;
        let lasts = |entry: &Entry| entry.flags & (FLUSH | FUA) != 0;
        let flushed = entries.iter().rposition(lasts).map_or(0, |last| last + 1);
        let mut image = File::create(image)?;
        image.set_len(self.bytes)?;
        let mut buffer = Vec::new();
        for (n, entry) in entries.iter().enumerate() {
            if entry.has_data() && (n < flushed || chance()) {
                buffer.resize(usize::try_from(entry.sectors * SECTOR)?, 0);
                log.read_exact_at(&mut buffer, entry.data)?;
                image.seek(SeekFrom::Start(entry.sector * SECTOR))?;
                image.write_all(&buffer)?;
            }
        }
        Ok(image.sync_all()?)
    }
}

/// The entries that had begun when the log was so long.
fn entries(log: &mut File, length: u64) -> Result<Vec<Entry>> {
    log.seek(SeekFrom::Start(0))?;
    let [magic, _version, count] = numbers(log)?;
    ensure!(magic == MAGIC, "no log of writes");
    let mut entries = Vec::new();
    let mut at = SECTOR;
    for _ in 0..count {
        if at >= length {
            break;
        }
        log.seek(SeekFrom::Start(at))?;
        let [sector, sectors, flags, _] = numbers(log)?;
        let entry = Entry { sector, sectors, flags, data: at + SECTOR };
        at = entry.data + if entry.has_data() { sectors * SECTOR } else { 0 };
        entries.push(entry);
    }
    Ok(entries)
}

/// An image that is mounted; dropping it unmounts it.
#[derive(Debug)]
pub struct MountedImage(PathBuf);

impl MountedImage {
    pub fn mount(image: &Path, at: &Path) -> Result<Self> {
        fs::create_dir_all(at)?;
        let [image, folder] = [image, at].map(|path| path.display().to_string());
        run("mount", &["-o", "loop", &image, &folder])?;
        Ok(Self(at.to_owned()))
    }
}

impl Drop for MountedImage {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn synced_data_survives_a_cut_and_unsynced_data_may_be_lost() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let disk = RecordedDisk::mount(folder.path(), &folder.path().join("disk"), 16).await?;
        let mut synced = File::create(folder.path().join("disk/synced"))?;
        synced.write_all(&[1; 100_000])?;
        synced.sync_all()?;
        File::open(folder.path().join("disk"))?.sync_all()?;
        fs::write(folder.path().join("disk/lost"), [2; 100_000])?;
        let cut = disk.logged()?;
        drop(synced);
        let log = disk.stop()?;

        for survive in [false, true] {
            let image = folder.path().join("image-after");
            log.image_at(cut, &image, || survive)?;
            let at = folder.path().join(format!("after-{survive}"));
            let _mounted = MountedImage::mount(&image, &at)?;

            assert_eq!(fs::read(at.join("synced"))?, [1; 100_000]);
            assert!(fs::read(at.join("lost")).unwrap_or_default().len() < 100_000);
        }
        Ok(())
    }
}
