//! The smallest package there is: a static executable of some hundred bytes that ends at once.

/// Where the file is mapped.
const BASE: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;

#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;
/// `xor edi, edi; mov eax, 60; syscall`: exit(0).
#[cfg(target_arch = "x86_64")]
const CODE: &[u8] = &[0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05];

#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;
/// `mov x0, #0; mov x8, #93; svc #0`: exit(0).
#[cfg(target_arch = "aarch64")]
const CODE: &[u8] = &[0x00, 0x00, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4];

/// An ELF file with one loadable segment, which is the whole file.
pub fn executable() -> Vec<u8> {
    let size = HEADERS + CODE.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // An executable; the machine; the version of ELF.
    file.extend(2_u16.to_le_bytes());
    file.extend(MACHINE.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    // The entry point; where the program header is; no section headers.
    for word in [BASE + HEADERS, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    // No flags; the sizes and numbers of headers.
    file.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    // The segment: to be loaded, readable and executable.
    file.extend(1_u32.to_le_bytes());
    file.extend(5_u32.to_le_bytes());
    for word in [0, BASE, BASE, size, size, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(CODE);
    file
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn tiny_bench_succeeds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny");
        std::fs::write(&path, executable()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();

        let status = tokio::process::Command::new(&path).status().await.unwrap();

        assert!(status.success());
        assert_eq!(executable().len() as u64, HEADERS + CODE.len() as u64);
    }
}
