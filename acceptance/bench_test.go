//go:build acceptance

package acceptance

import "testing"

// BenchmarkBakeBothImages bakes db and web at the same time, with packages cached.
func BenchmarkBakeBothImages(b *testing.B) {
	for b.Loop() {
		must(b, packer(b), "build", "-var", "stack="+stackName, "-var", "ami_prefix=bench", ".")
		b.StopTimer()
		for _, tier := range []string{"db", "web"} {
			deregisterNow(b, imageNamed(b, "bench-"+tier+"-*"))
		}
		b.StartTimer()
	}
}

// BenchmarkLaunchToHTTPS launches both tiers anew and ends when the page answers from outside.
func BenchmarkLaunchToHTTPS(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		must(b, goldsmith(), "destroy", "--stack", stackName, "--yes")
		must(b, goldsmith(), "network", "up", "--stack", stackName)
		b.StartTimer()
		must(b, goldsmith(), "deploy", "--stack", stackName)
	}
}

// BenchmarkCloudUp starts the local cloud from its cached state.
func BenchmarkCloudUp(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		must(b, goldsmith(), "cloud", "down")
		b.StartTimer()
		must(b, goldsmith(), "cloud", "up")
	}
	b.StopTimer()
	must(b, goldsmith(), "deploy", "--stack", stackName)
}
