// Package host makes machines, disks and networks real on this Linux host: what an EC2 API only records. It knows
// nothing of the API itself; package endpoint tells it what should be so.
//
// It owns which machines, images and volumes there are, and what is done to them in which order. How a machine runs is
// package nspawn's, VPCs are package network's, base images and the package cache are package debian's. An image is the
// upper layer of a machine's disk, frozen; of a stopped machine nothing is copied.
//
// One thing at a time is done to a machine or a volume, while others go on: their locks are held over mkfs, copies and
// boots, and that of the state is not.
//
// All of it lives in the mount namespace of the process that opens it, so that the kernel takes most of it down when
// that process ends, however it ends. Machines, control groups and one table of firewall rules are outlived by it;
// Clear and the next Open end those.
//
// Limits:
//   - Machines share the host's kernel: an image's own kernel, boot loader and kernel modules are not tested. They are
//     not limited in memory or processors.
//   - A machine is no boundary. There is no user namespace: root in a machine can mount proc and devtmpfs, and so
//     write the host's kernel settings and open its disks and other machines' disks. Run only images that you would
//     run as root, and the cloud in a virtual machine where you would not.
//   - A machine has one interface, and IPv4 only. An instance does not reach another's public address, only its
//     private one.
//   - A connection from the host to a public address is TCP, and is accepted before it is known whether the machine
//     takes it. One that is refused is reset at once; one that a security group drops is reset after ten seconds,
//     where on EC2 the client would be left waiting.
//   - There is no udev in a machine: an attached volume is a device node and a link in /dev/disk/by-id, but no .device
//     unit of systemd ever appears. A device that is still held open when its volume is detached stays readable.
//   - Images and machines stand on the base image that they were made of, in the cache directory: without it they do
//     not start.
package host

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/debian"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/ec2id"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/network"
)

// Config names a cloud and where it lives. Two clouds with different names do not touch each other.
type Config struct {
	// Name is the cloud's name: lower-case letters, digits and dashes, at most 20.
	Name string
	// StateDir holds what survives: images, volumes, machines, the API's journal.
	StateDir string
	// CacheDir is shared by all clouds of the host: base images, package cache.
	CacheDir string
	// RunDir holds what a reboot may lose: sockets, pid files, namespaces' names.
	RunDir string
	Log    *slog.Logger
}

// Addresses are the cloud's fixed addresses.
type Addresses struct {
	API          netip.AddrPort // where the host reaches the EC2 API: 127.66.N.1:4566
	PublicPrefix netip.Prefix   // 127.66.N.0/24; public addresses are .2 to .254
	Operator     netip.Addr     // 198.51.100.1: how machines see the host's user
	InetAPI      netip.AddrPort // 198.51.100.20:80: where machines reach the same EC2 API
}

// Machine describes an instance's machine.
type Machine struct {
	ID         string // i-…
	Image      string // ami-… (or a base image's)
	RootVolume string // vol-…, made by RunMachine
	RootSizeGB int
	Hostname   string
	Interface  network.Interface
	// UserData is the launch's user-data, decoded; the NoCloud seed is made from it.
	UserData []byte
	// SSHKeys are authorized_keys lines of the launch's key pair.
	SSHKeys []string
}

// Exit says that a machine ended without having been told to by the API: it powered itself off or died.
type Exit struct {
	ID  string
	Err error // nil if it powered itself off
}

// check refuses a machine of which a part would end up where it does not belong.
func (m Machine) check() error {
	err := cmp.Or(ec2id.Machine.Check(m.ID), checkImage(m.Image), ec2id.Volume.Check(m.RootVolume), m.Interface.Check())
	if err != nil {
		return err
	}
	if err := checkSize(m.RootSizeGB); err != nil {
		return fmt.Errorf("root volume %s: %w", m.RootVolume, err)
	}
	return nil
}

// checkImage refuses what is no id of an image and no make of a base image either: see state.pin.
func checkImage(id string) error {
	if debian.IsMake(id) {
		return nil
	}
	return ec2id.Image.Check(id)
}

// maxSizeGB is the largest volume of EC2.
const maxSizeGB = 64 << 10

func checkSize(sizeGB int) error {
	if sizeGB < 1 || sizeGB > maxSizeGB {
		return fmt.Errorf("a size of %d GB is not between 1 and %d", sizeGB, maxSizeGB)
	}
	return nil
}
