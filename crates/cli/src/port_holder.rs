//! Which process listens on a port, where the system tells.

use std::net::SocketAddr;

/// The process that listens on the address's port, as `metal9 (pid 7)`.
#[cfg(target_os = "linux")]
pub(crate) fn of(address: SocketAddr) -> Option<String> {
    use std::fs;

    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables: String = tables.iter().filter_map(|table| fs::read_to_string(table).ok()).collect();
    let inodes = listeners(&tables, address.port());
    let inodes: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    for process in processes {
        let Ok(pid) = process.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok()).any(|target| {
            target.to_str().is_some_and(|target| inodes.iter().any(|inode| inode == target))
        });
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("`{}` (pid {pid})", name.trim()));
        }
    }
    None
}

/// Other systems do not tell.
#[cfg(not(target_os = "linux"))]
pub(crate) fn of(_: SocketAddr) -> Option<String> {
    None
}

/// The inodes of the sockets that listen on a port, from the kernel's tables.
#[cfg(target_os = "linux")]
fn listeners(table: &str, port: u16) -> Vec<&str> {
    const LISTENING: &str = "0A";
    let end = format!(":{port:04X}");
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.len() > 9 && row[1].ends_with(&end) && row[3] == LISTENING)
        .map(|row| row[9])
        .collect()
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_is_found_by_its_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = of(listener.local_addr().unwrap()).unwrap();
        assert!(found.contains(&format!("pid {}", std::process::id())), "{found}");
    }
}
