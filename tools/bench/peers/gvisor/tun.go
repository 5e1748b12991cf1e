package main

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// The virtio header before each frame, as linux/virtio_net.h has it.
const (
	virtioSize = 10
	needsSum   = 1
	gsoTCP4    = 1
)

// tun is a link endpoint that says to netstack: hand me up to 64 KiB, the kernel cuts and sums.
type tun struct {
	fd         int
	mtu        uint32
	dispatcher stack.NetworkDispatcher
}

func newTun(fd int, mtu uint32) *tun { return &tun{fd: fd, mtu: mtu} }

func (t *tun) MTU() uint32                             { return t.mtu }
func (t *tun) SetMTU(mtu uint32)                       { t.mtu = mtu }
func (t *tun) MaxHeaderLength() uint16                 { return 0 }
func (t *tun) LinkAddress() tcpip.LinkAddress          { return "" }
func (t *tun) SetLinkAddress(tcpip.LinkAddress)        {}
func (t *tun) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }
func (t *tun) AddHeader(*stack.PacketBuffer)           {}
func (t *tun) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (t *tun) Close()                                  {}
func (t *tun) SetOnCloseAction(func())                 {}
func (t *tun) Wait()                                   {}
func (t *tun) IsAttached() bool                        { return t.dispatcher != nil }
func (t *tun) GSOMaxSize() uint32                      { return 65000 }
func (t *tun) SupportedGSO() stack.SupportedGSO        { return stack.HostGSOSupported }
func (t *tun) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload // frames without GSO bring their full sum
}

func (t *tun) Attach(dispatcher stack.NetworkDispatcher) {
	t.dispatcher = dispatcher
	if dispatcher != nil {
		go t.receive()
	}
}

func (t *tun) receive() {
	frame := make([]byte, virtioSize+65536)
	waiting := []unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLIN}}
	for {
		length, err := unix.Read(t.fd, frame)
		if err == unix.EAGAIN {
			unix.Poll(waiting, -1)
			continue
		}
		if err != nil {
			return
		}
		if length <= virtioSize {
			continue
		}
		packet := stack.NewPacketBuffer(stack.PacketBufferOptions{
			Payload: buffer.MakeWithData(frame[virtioSize:length]),
		})
		packet.RXChecksumValidated = true
		t.dispatcher.DeliverNetworkPacket(ipv4.ProtocolNumber, packet)
		packet.DecRef()
	}
}

func (t *tun) WritePackets(packets stack.PacketBufferList) (int, tcpip.Error) {
	sent := 0
	for _, packet := range packets.AsSlice() {
		var virtio [virtioSize]byte
		if gso := packet.GSOOptions; gso.Type != stack.GSONone {
			if gso.NeedsCsum {
				virtio[0] = needsSum
				binary.NativeEndian.PutUint16(virtio[6:], header.IPv4MinimumSize)
				binary.NativeEndian.PutUint16(virtio[8:], gso.CsumOffset)
			}
			if packet.Data().Size() > int(gso.MSS) && gso.MSS > 0 {
				virtio[1] = gsoTCP4
				binary.NativeEndian.PutUint16(virtio[2:], uint16(packet.HeaderSize()))
				binary.NativeEndian.PutUint16(virtio[4:], gso.MSS)
			}
		}
		parts := append([][]byte{virtio[:]}, packet.AsSlices()...)
		if _, err := unix.Writev(t.fd, parts); err != nil {
			return sent, &tcpip.ErrNoBufferSpace{}
		}
		sent++
	}
	return sent, nil
}
