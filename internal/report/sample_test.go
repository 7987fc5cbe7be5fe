package report

import (
	"fmt"
	"time"
)

// began is when the samples' deploy began.
var began = time.Date(2026, 11, 23, 21, 4, 5, 0, time.UTC)

func after(seconds float64) time.Time {
	return began.Add(time.Duration(seconds * float64(time.Second)))
}

// sample is a deploy of both tiers that went well, with as many web instances and samples as wanted.
func sample(webs, samples int) Report {
	step := func(name, tier string, start, took float64) Step {
		return Step{name, tier, after(start), time.Duration(took * float64(time.Second)), "ok", ""}
	}
	r := Report{
		Stack:   "golden",
		ID:      "20261123-210405-7f3a",
		Kind:    "deploy",
		Who:     "ada@workshop",
		Started: began,
		Ended:   after(41.3),
		Result:  "done",
		From: Release{
			"20261120-091500",
			[]Image{{"db", "ami-0c1d2e3f4a5b6c7d8"}, {"web", "ami-09f8e7d6c5b4a3210"}},
		},
		To: Release{
			"20261123-204112",
			[]Image{{"db", "ami-0aa11bb22cc33dd44"}, {"web", "ami-0ee55ff66aa77bb88"}},
		},
		Steps: []Step{
			step(
				"images, parameters, roles",
				"",
				0,
				0.6,
			),
			step("launch web", "web", 0.7, 1.4),
			step("web ready", "web", 2.1, 9.8),
			step(
				"launch db",
				"db",
				0.7,
				1.2,
			),
			step("copy the data", "db", 1.9, 17.2),
			step("db ready on the copy", "db", 19.1, 6.3),
			step(
				"stop writes",
				"db",
				25.4,
				0.1,
			),
			step("last changes", "db", 25.5, 0.35),
			step("move the address", "db", 25.85, 0.12),
			step(
				"https from outside",
				"web",
				26.2,
				0.4,
			),
			step("move the public address", "web", 26.6, 0.3),
			step("watch", "", 27, 12),
			step("end the old instances", "", 39, 2.3),
		},
		Interruptions: []Interval{{after(25.4), after(25.97)}},
		Moves: []Move{
			{after(25.97), "10.0.2.10 to i-0db00000000000002"},
			{after(26.9), "127.66.0.3 to i-0web0000000000001"},
		},
		Topology: Topology{
			VPC: VPC{"vpc-0a1b2c3d4e5f60718", "10.0.0.0/16"},
			Subnets: []Subnet{
				{"subnet-0aaaaaaaaaaaaaaa1", "golden-public", "10.0.1.0/24", true},
				{"subnet-0bbbbbbbbbbbbbbb2", "golden-private", "10.0.2.0/24", false},
			},
			Groups: []Group{
				{
					"sg-0a0a0a0a0a0a0a0a1",
					"web-sg",
					[]Rule{
						{Protocol: "tcp", Port: 22, CIDR: "198.51.100.1/32", Description: "operator"},
						{Protocol: "tcp", Port: 80, CIDR: "0.0.0.0/0"},
						{Protocol: "tcp", Port: 443, CIDR: "0.0.0.0/0"},
					},
				},
				{
					"sg-0b0b0b0b0b0b0b0b2",
					"db-sg",
					[]Rule{
						{Protocol: "tcp", Port: 22, Group: "sg-0a0a0a0a0a0a0a0a1"},
						{Protocol: "tcp", Port: 3306, Group: "sg-0a0a0a0a0a0a0a0a1"},
						{Protocol: "icmp", Port: -1, Group: "sg-0a0a0a0a0a0a0a0a1"},
					},
				},
			},
			Gateways: []Gateway{
				{"internet", "igw-0c0c0c0c0c0c0c0c3", "", ""},
				{"NAT", "nat-0d0d0d0d0d0d0d0d4", "127.66.0.2", "subnet-0aaaaaaaaaaaaaaa1"},
			},
		},
	}
	r.Steps[4].Detail = "1,204 rows in 3 tables, by way of snap-0f1e2d3c4b5a69788"
	instance := func(id, tier, image, private, public string, fresh, serving bool) Instance {
		i := Instance{
			ID:      id,
			Name:    "golden-" + tier,
			Tier:    tier,
			Subnet:  r.Topology.Subnets[0].ID,
			Image:   image,
			Private: private,
			Public:  public,
			State:   "running",
			Groups:  []string{r.Topology.Groups[0].ID},
			New:     fresh,
			Serving: serving,
		}
		if tier == "db" {
			i.Subnet, i.Groups = r.Topology.Subnets[1].ID, []string{r.Topology.Groups[1].ID}
		}
		if !serving {
			i.State = "terminated"
		}
		return i
	}
	for n := range webs {
		fresh := n%2 == 0
		image := r.From.image("web")
		if fresh {
			image = r.To.image("web")
		}
		r.Topology.Instances = append(
			r.Topology.Instances,
			instance(
				fmt.Sprintf("i-0web%013d", n+1),
				"web",
				image,
				fmt.Sprintf("10.0.1.%d", 20+n),
				fmt.Sprintf("127.66.0.%d", 3+n),
				fresh,
				fresh,
			),
		)
	}
	r.Topology.Instances = append(
		r.Topology.Instances,
		instance("i-0db00000000000001", "db", r.From.image("db"), "10.0.2.11", "", false, false),
		instance("i-0db00000000000002", "db", r.To.image("db"), "10.0.2.10", "", true, true),
	)
	for n := range samples {
		s := Sample{
			At:   after(41 * float64(n) / float64(samples)),
			OK:   true,
			Took: time.Duration(4+n*7%13+n*31%5) * time.Millisecond,
		}
		if offset := s.At.Sub(began).Seconds(); offset > 25.5 && offset < 25.9 {
			s.OK, s.Took, s.Detail = false, 0, "503 Service Unavailable: database: not reachable"
		} else if n%97 == 5 {
			s.Took *= 4
		}
		r.Health = append(r.Health, s)
	}
	return r
}

// failed is a deploy that went back, with text that nobody should trust.
func failed() Report {
	r := sample(4, 300)
	r.Result = "rolled back"
	r.Reason = "web i-0web0000000000001: not ready within 2 min: " +
		"nginx: [emerg] cannot load certificate </p><script>alert(1)</script>\nhint: goldsmith diagnose --stack golden"
	r.Steps[2].Result = "failed"
	r.Steps[2].Detail = "nginx.service: exited with status 1, " +
		"and went on to say rather a lot about what was wrong with its configuration"
	r.Steps[1].Result = "undone"
	r.Steps = append(
		r.Steps,
		Step{
			Name: "a step with a name that is much longer than there is room for " +
				"in any of the three drawings of a timeline, wide as the widest is",
			Tier:    "web",
			Started: after(30),
			Took:    3 * time.Second,
			Result:  "undone",
		},
	)
	r.Topology.Instances[0].Name = "</title><script>alert(1)</script>"
	r.Interruptions = append(r.Interruptions, Interval{Start: after(33)})
	for n := range r.Health {
		if n > 200 && n%3 > 0 {
			r.Health[n].OK, r.Health[n].Detail = false, "connection refused"
		}
	}
	r.Moves = nil
	for n := range 12 {
		r.Moves = append(r.Moves, Move{after(20 + float64(n)/10), "back and forth"})
	}
	return r
}
