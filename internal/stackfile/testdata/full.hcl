# Everything that a file can say at once.
name                = "full-1"
region              = "us-gov-west-1"
profile             = "ops"
custom_endpoint_ec2 = "http://127.66.0.1:4566"
operator            = "192.0.2.7/32"

permissions_boundary = "arn:aws-us-gov:iam::123456789012:policy/teams/limit"

network {
  cidr              = "172.31.0.0/16"
  public_cidr       = "172.31.16.0/20"
  private_cidr      = "172.31.32.0/28"
  availability_zone = "us-gov-west-1b"
}

tier "db" {
  subnet          = "private"
  instance_type   = "r6g.large"
  release         = "2026-11-23.1"
  user_data_file  = "db.sh"
  service_address = "172.31.32.14"
  tags            = { team = "data", "a:b/c" = "" }

  data_volume {
    size       = 500
    type       = "gp3"
    iops       = 8000
    throughput = 500
    encrypted  = true
    kms_key_id = "alias/db"
  }
  rule {
    protocol    = "tcp"
    port        = 9104
    cidr        = "2001:db8::/32"
    description = "metrics (MySQL)"
  }
  rule {
    protocol  = "icmp"
    from_tier = "db"
  }
}

tier "web" {
  subnet        = "public"
  instance_type = "u-6tb1.56xlarge"
  ami           = "ami-0123456789abcdef0"
  user_data     = "#cloud-config\ntimezone: UTC\n"
  tags          = {}
  count         = 4
  scaling       = "asg"

  rule {
    port      = 8443
    from_tier = "db"
  }
  rule {
    protocol = "udp"
    port     = 443
    cidr     = "0.0.0.0/0"
  }
}

health_check {
  path              = "/health?deep=1"
  interval          = "500ms"
  timeout           = "1m"
  healthy_threshold = 10
  deadline          = "1h30m"
}

deploy {
  bake_time              = "1m"
  drain_time             = "0s"
  keep_snapshots         = 7
  timeout                = "20m"
  min_healthy_percentage = 100
  checkpoints            = [1, 50, 100]
  checkpoint_delay       = "90s"
  auto_rollback          = false
}
