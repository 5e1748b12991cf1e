//! smoltcp on a TUN device, one thread, its own poll loop:
//!   peer-smoltcp DEVICE ADDRESS BASE-PORT MTU ROLE
//! It looks at every socket for every packet, so it gets as few as the role needs.

use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{wait, Medium, TunTapInterface};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use std::os::unix::io::AsRawFd;

const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 26\r\n\r\nHello from the other end.\n";
const REQUEST: u64 = 64;
const REPLY: usize = 128;

#[derive(Clone, Copy, PartialEq)]
enum Service {
    Sink,
    Source,
    Echo,
    Request,
    Http,
}

struct Session {
    handle: SocketHandle,
    port: u16,
    service: Service,
    bytes: u64,
    answered: bool,
    was_open: bool,
}

fn plan(role: &str) -> Vec<(Service, u16, usize, usize)> {
    // service, port offset, sockets, bytes of each buffer
    let big = 4 << 20;
    match role {
        "many" => vec![(Service::Sink, 1, 64, 1 << 20), (Service::Source, 2, 64, 1 << 20)],
        "http" => vec![(Service::Http, 80, 110, 1 << 16)],
        _ => vec![
            (Service::Sink, 1, 1, big),
            (Service::Source, 2, 1, big),
            (Service::Echo, 3, 1, 1 << 16),
            (Service::Request, 4, 4, 1 << 16),
        ],
    }
}

fn serve(session: &mut Session, socket: &mut tcp::Socket, block: &mut [u8]) -> bool {
    let mut worked = false;
    if !socket.is_open() {
        session.bytes = 0;
        session.answered = false;
        session.was_open = false;
        socket.listen(session.port).expect("listen");
        return false;
    }
    if !session.was_open && socket.may_send() {
        session.was_open = true;
        socket.set_nagle_enabled(false);
    }
    if session.service == Service::Source {
        while socket.can_send() {
            match socket.send_slice(block) {
                Ok(taken) if taken > 0 => worked = true,
                _ => break,
            }
        }
    }
    while socket.can_recv() {
        let got = socket.recv_slice(block).unwrap_or(0);
        if got == 0 {
            break;
        }
        worked = true;
        let before = session.bytes;
        session.bytes += got as u64;
        match session.service {
            Service::Echo => {
                let _ = socket.send_slice(&block[..got]);
            }
            Service::Request => {
                for _ in 0..(session.bytes / REQUEST - before / REQUEST) {
                    let _ = socket.send_slice(&block[..REPLY]);
                }
            }
            Service::Http if block[..got].ends_with(b"\r\n\r\n") => {
                let _ = socket.send_slice(PAGE);
            }
            _ => {}
        }
    }
    if session.was_open && !socket.may_recv() && !session.answered {
        session.answered = true;
        if session.service == Service::Sink {
            let _ = socket.send_slice(&session.bytes.to_le_bytes());
        }
        socket.close();
        worked = true;
    }
    worked
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let base: u16 = words[3].parse().expect("port");
    let role = words.get(5).map(String::as_str).unwrap_or("services");
    let mut device = TunTapInterface::new(&words[1], Medium::Ip).expect("tun");
    let fd = device.as_raw_fd();
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = 1;
    let mut interface = Interface::new(config, &mut device, Instant::now());
    interface.update_ip_addrs(|addresses| {
        let own: IpAddress = words[2].parse().expect("address");
        addresses.push(IpCidr::new(own, 16)).expect("address");
    });
    let mut sockets = SocketSet::new(vec![]);
    let mut sessions = Vec::new();
    for (service, offset, count, size) in plan(role) {
        for _ in 0..count {
            let receive = tcp::SocketBuffer::new(vec![0; size]);
            let send = tcp::SocketBuffer::new(vec![0; size]);
            let mut socket = tcp::Socket::new(receive, send);
            socket.set_congestion_control(tcp::CongestionControl::Cubic);
            let handle = sockets.add(socket);
            sessions.push(Session { handle, port: base + offset, service, bytes: 0, answered: false, was_open: false });
        }
    }
    let mut block = vec![b'u'; 1 << 20];
    println!("ready");
    loop {
        let polled = interface.poll(Instant::now(), &mut device, &mut sockets);
        let mut worked = false;
        for session in sessions.iter_mut() {
            let socket = sockets.get_mut::<tcp::Socket>(session.handle);
            worked |= serve(session, socket, &mut block);
        }
        if polled == PollResult::None && !worked {
            wait(fd, interface.poll_delay(Instant::now(), &sockets)).expect("wait");
        }
    }
}
