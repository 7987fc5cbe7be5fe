//go:build acceptance

package rig

import (
	"bufio"
	"context"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Inventory is everything that a bake could leave behind: in the account, and in the kernel.
func Inventory(t testing.TB) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var all []string
	for _, list := range []func(context.Context) ([]string, error){
		Instances, KeyPairs, SecurityGroups, Volumes, ImagesAndSnapshots, Addresses,
	} {
		found, err := list(ctx)
		if err != nil {
			t.Fatalf("take the inventory: %v", err)
		}
		all = append(all, found...)
	}
	for _, line := range KernelState() {
		// The cloud's own children may come and go; what a bake has is machines.
		if !strings.HasPrefix(line, "listener ") && !strings.HasPrefix(line, "process apt-cacher-ng") {
			all = append(all, line)
		}
	}
	all = append(all, insideCloud(t)...)
	slices.Sort(all)
	return all
}

// insideCloud is the mounts and network namespaces of the cloud, which lie in the mount namespace of its daemon.
func insideCloud(t testing.TB) []string {
	t.Helper()
	pid := DaemonPID(t)
	found := matching(
		fmt.Sprintf("/proc/%d/mounts", pid),
		"mount",
		func(path string) bool { return strings.HasPrefix(path, "/run/goldsmith/"+cloudName+"/") },
	)
	if len(found) == 0 {
		t.Fatal("the cloud has no mount at all: this looks in the wrong place")
	}
	out := Must(t, "nsenter", "--mount", "--target", strconv.Itoa(pid), "ls", "/run/netns")
	if !strings.Contains(out, namespacePrefix()) {
		t.Fatalf("the cloud has no network namespace at all: %s", out)
	}
	for _, name := range strings.Fields(out) {
		found = append(found, "namespace "+name)
	}
	return found
}

// AssertNothingLeft compares with an inventory taken before; the kernel may need a moment to let go of a machine.
func AssertNothingLeft(t testing.TB, before []string) {
	t.Helper()
	var after []string
	for range 20 {
		if after = Inventory(t); slices.Equal(before, after) {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
	for _, thing := range after {
		if !slices.Contains(before, thing) {
			t.Errorf("left behind: %s", thing)
		}
	}
	for _, thing := range before {
		if !slices.Contains(after, thing) {
			t.Errorf("gone, though it was there before: %s", thing)
		}
	}
}

func Instances(ctx context.Context) ([]string, error) {
	out, err := API.DescribeInstances(ctx, &ec2.DescribeInstancesInput{})
	if err != nil {
		return nil, err
	}
	var found []string
	for _, reservation := range out.Reservations {
		for _, i := range reservation.Instances {
			if i.State.Name != types.InstanceStateNameTerminated {
				found = append(found, fmt.Sprintf("instance %s %s", *i.InstanceId, i.State.Name))
			}
		}
	}
	return found, nil
}

func KeyPairs(ctx context.Context) ([]string, error) {
	out, err := API.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{})
	if err != nil {
		return nil, err
	}
	var found []string
	for _, k := range out.KeyPairs {
		found = append(found, "key pair "+aws.ToString(k.KeyName))
	}
	return found, nil
}

func SecurityGroups(ctx context.Context) ([]string, error) {
	out, err := API.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{})
	if err != nil {
		return nil, err
	}
	var found []string
	for _, g := range out.SecurityGroups {
		found = append(found, fmt.Sprintf("security group %s %s", *g.GroupId, *g.GroupName))
	}
	return found, nil
}

func Volumes(ctx context.Context) ([]string, error) {
	out, err := API.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{})
	if err != nil {
		return nil, err
	}
	var found []string
	for _, v := range out.Volumes {
		found = append(found, "volume "+*v.VolumeId)
	}
	return found, nil
}

func ImagesAndSnapshots(ctx context.Context) ([]string, error) {
	images, err := API.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}})
	if err != nil {
		return nil, err
	}
	snapshots, err := API.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}})
	if err != nil {
		return nil, err
	}
	var found []string
	for _, i := range images.Images {
		found = append(found, "image "+*i.ImageId)
	}
	for _, s := range snapshots.Snapshots {
		found = append(found, "snapshot "+*s.SnapshotId)
	}
	return found, nil
}

func Addresses(ctx context.Context) ([]string, error) {
	out, err := API.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{})
	if err != nil {
		return nil, err
	}
	var found []string
	for _, a := range out.Addresses {
		found = append(found, "address "+aws.ToString(a.PublicIp))
	}
	return found, nil
}

// KernelState is the machines, namespaces, mounts, loop devices, tables and listeners of the tests' cloud. What a
// cloud of another name has is not looked at.
func KernelState() []string {
	var found []string
	mine := func(line string) bool {
		return strings.Contains(line, "goldsmith/"+cloudName+"/")
	}
	found = append(found, matching("/proc/self/mounts", "mount", mine)...)
	for _, probe := range []struct {
		what string
		argv []string
		mine func(string) bool
	}{
		{"namespace", []string{"ip", "netns", "list"},
			func(l string) bool { return strings.HasPrefix(l, namespacePrefix()) }},
		{"loop device", []string{"losetup", "--list", "--noheadings", "--output", "BACK-FILE"}, mine},
		{"process", []string{"ps", "-eo", "args"},
			func(l string) bool { return mine(l) && !strings.HasPrefix(l, "ps ") }},
		{"listener", []string{"ss", "-Hltn"}, func(l string) bool { return strings.Contains(l, loopbackPrefix()) }},
		{"table", []string{"nft", "list", "tables"},
			func(l string) bool { return strings.HasSuffix(l, fmt.Sprintf("goldsmith_%d", cloudNumber())) }},
	} {
		out, err := exec.Command(probe.argv[0], probe.argv[1:]...).Output()
		if err != nil {
			found = append(found, fmt.Sprintf("%s: cannot be listed: %v", probe.what, err))
		}
		for line := range strings.Lines(string(out)) {
			if line = strings.TrimSpace(line); probe.mine(line) {
				found = append(found, probe.what+" "+line)
			}
		}
	}
	return found
}

func matching(path, what string, mine func(string) bool) []string {
	f, err := os.Open(path)
	if err != nil {
		return []string{err.Error()}
	}
	defer f.Close()
	var found []string
	for scanner := bufio.NewScanner(f); scanner.Scan(); {
		if fields := strings.Fields(scanner.Text()); len(fields) > 1 && mine(fields[1]+"/") {
			found = append(found, what+" "+fields[1])
		}
	}
	return found
}

// cloudNumber is the N of the cloud's names and addresses, as package host documents it.
func cloudNumber() uint32 { return 1 + crc32.ChecksumIEEE([]byte(cloudName))%250 }

func namespacePrefix() string { return fmt.Sprintf("gs%d-", cloudNumber()) }

func loopbackPrefix() string { return fmt.Sprintf("127.66.%d.", cloudNumber()) }
