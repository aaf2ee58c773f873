package notify

import (
	"net"

	"golang.org/x/sys/unix"
)

// senderSpace is the room that the sender's name takes.
var senderSpace = unix.CmsgSpace(unix.SizeofUcred)

// askForSender has the kernel write the sender beside each datagram.
func askForSender(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
	if err != nil {
		return err
	}
	return set
}

func senderOf(control []byte) Sender {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return Sender{UID: -1}
	}
	for i := range messages {
		if cred, err := unix.ParseUnixCredentials(&messages[i]); err == nil {
			return Sender{PID: int(cred.Pid), UID: int(cred.Uid)}
		}
	}
	return Sender{UID: -1}
}
