// Gvisor's netstack on a TUN device: peer-gvisor DEVICE ADDRESS BASE-PORT MTU [--offload] [ROLE]
// Without offload its own fdbased endpoint; with it an endpoint of ours that declares host GSO.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/fdbased"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

const (
	block   = 1 << 20
	request = 64
	reply   = 128
)

func must(what string, err any) {
	switch value := err.(type) {
	case nil:
		return
	case tcpip.Error:
		if value == nil {
			return
		}
	}
	fmt.Fprintln(os.Stderr, what, err)
	os.Exit(1)
}

func openTun(name string, offload bool) int {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	must("open", err)
	flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if offload {
		flags |= unix.IFF_VNET_HDR
	}
	request, err := unix.NewIfreq(name)
	must("name", err)
	request.SetUint16(flags)
	must("TUNSETIFF", unixError(unix.IoctlIfreq(fd, unix.TUNSETIFF, request)))
	if offload {
		wanted := unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6
		must("TUNSETOFFLOAD", unixError(unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, wanted)))
	}
	return fd
}

func unixError(err error) any {
	if err == nil {
		return nil
	}
	return err
}

func linkEndpoint(fd int, mtu uint32, offload bool) stack.LinkEndpoint {
	if offload {
		return newTun(fd, mtu)
	}
	link, err := fdbased.New(&fdbased.Options{
		FDs:                []int{fd},
		MTU:                mtu,
		RXChecksumOffload:  true, // what comes from the same machine's kernel needs no second look
		PacketDispatchMode: fdbased.Readv,
	})
	must("fdbased", unixError(err))
	return link
}

func newStack(link stack.LinkEndpoint, address tcpip.Address) *stack.Stack {
	netstack := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
		HandleLocal:        false,
	})
	sack := tcpip.TCPSACKEnabled(true)
	cubic := tcpip.CongestionControlOption("cubic")
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: 4 << 20, Max: 16 << 20}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: 4 << 20, Max: 16 << 20}
	for _, option := range []tcpip.SettableTransportProtocolOption{&sack, &cubic, &moderate, &receive, &send} {
		if err := netstack.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			must("option", err.String())
		}
	}
	if err := netstack.CreateNIC(1, link); err != nil {
		must("nic", err.String())
	}
	own := tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: address, PrefixLen: 16},
	}
	if err := netstack.AddProtocolAddress(1, own, stack.AddressProperties{}); err != nil {
		must("address", err.String())
	}
	netstack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: 1}})
	return netstack
}

func sink(flow net.Conn) {
	buffer := make([]byte, block)
	total := uint64(0)
	for {
		got, err := flow.Read(buffer)
		total += uint64(got)
		if err != nil {
			break
		}
	}
	flow.Write(binary.LittleEndian.AppendUint64(nil, total))
}

func source(flow net.Conn) {
	buffer := make([]byte, block)
	for {
		if _, err := flow.Write(buffer); err != nil {
			return
		}
	}
}

func echo(flow net.Conn) {
	buffer := make([]byte, 4096)
	for {
		got, err := flow.Read(buffer)
		if err != nil {
			return
		}
		flow.Write(buffer[:got])
	}
}

func answer(flow net.Conn) {
	question, said := make([]byte, request), make([]byte, reply)
	for {
		if _, err := io.ReadFull(flow, question); err != nil {
			return
		}
		flow.Write(said)
	}
}

func accept(listener net.Listener, service func(net.Conn)) {
	for {
		flow, err := listener.Accept()
		must("accept", unixError(err))
		go func() {
			defer flow.Close()
			service(flow)
		}()
	}
}

func main() {
	if len(os.Args) < 5 {
		os.Exit(2)
	}
	offload := len(os.Args) > 5 && os.Args[5] == "--offload"
	base, _ := strconv.Atoi(os.Args[3])
	mtu, _ := strconv.Atoi(os.Args[4])
	address := tcpip.AddrFromSlice(net.ParseIP(os.Args[2]).To4())
	link := linkEndpoint(openTun(os.Args[1], offload), uint32(mtu), offload)
	netstack := newStack(link, address)
	listen := func(offset int) net.Listener {
		full := tcpip.FullAddress{NIC: 1, Addr: address, Port: uint16(base + offset)}
		listener, err := gonet.ListenTCP(netstack, full, ipv4.ProtocolNumber)
		must("listen", unixError(err))
		return listener
	}
	for offset, service := range map[int]func(net.Conn){1: sink, 2: source, 3: echo, 4: answer} {
		go accept(listen(offset), service)
	}
	page := []byte("Hello from the other end.\n")
	pages := listen(80)
	go http.Serve(pages, http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { out.Write(page) }))
	fmt.Println("ready")
	select {}
}
