# Both images for AWS, encrypted, shared and copied, and deployed if that is wanted. See README.md.

packer {
  required_plugins {
    goldsmith = {
      source  = "github.com/goldsmith-ami/goldsmith"
      version = ">= 0.1.0"
    }
  }
}

locals {
  root = "${path.root}/../.." # where the templates and the programs are
  time = formatdate("YYYYMMDD-hhmmss", timestamp())
  # What AWS has for each processor; others where there is no room for the first.
  machine = {
    amd64 = { architecture = "x86_64", instance_types = ["t3.small", "t3a.small", "t3.medium"] }
    arm64 = { architecture = "arm64", instance_types = ["t4g.small", "t4g.medium"] }
  }[var.arch]
}

source "goldsmith-ami" "base" {
  region         = var.region
  instance_type  = local.machine.instance_types[0]
  instance_types = slice(local.machine.instance_types, 1, length(local.machine.instance_types))
  ssh_username   = "admin"

  source_ami_filter {
    filters     = { name = "debian-13-${var.arch}-*", architecture = local.machine.architecture }
    owners      = ["136693071363"] # Debian's account
    most_recent = true
  }

  subnet_filter {
    filters = {
      "tag:goldsmith:stack"  = var.stack
      "tag:goldsmith:subnet" = "public"
    }
  }
  associate_public_ip_address = true

  encrypt_boot = var.kms_key != ""
  kms_key_id   = var.kms_key
  ami_users    = var.share_with
  ami_regions  = var.copy_to
  run_tags     = var.tags

  unchanged {
    inputs = ["${path.root}/build.pkr.hcl"]
  }
}

build {
  source "goldsmith-ami.base" {
    name     = "db"
    ami_name = "${var.stack}-db-${local.time}"
    tags     = merge(var.tags, { "goldsmith:stack" = var.stack, "goldsmith:tier" = "db" })
    prove {
      stack   = var.stack
      tier    = "db"
      release = local.time
    }
  }

  source "goldsmith-ami.base" {
    name     = "web"
    ami_name = "${var.stack}-web-${local.time}"
    tags     = merge(var.tags, { "goldsmith:stack" = var.stack, "goldsmith:tier" = "web" })
    prove {
      stack   = var.stack
      tier    = "web"
      release = local.time
    }
  }

  provisioner "goldsmith-hardening" {
    only   = ["goldsmith-ami.db"]
    sshd   = "${local.root}/files/ssh/sshd.conf.tmpl"
    sysctl = "${local.root}/files/linux/sysctl.conf.tmpl"
  }

  provisioner "goldsmith-hardening" {
    only                 = ["goldsmith-ami.web"]
    sshd                 = "${local.root}/files/ssh/sshd.conf.tmpl"
    sysctl               = "${local.root}/files/linux/sysctl.conf.tmpl"
    allow_tcp_forwarding = true
  }

  provisioner "goldsmith-mysql" {
    only    = ["goldsmith-ami.db"]
    config  = "${local.root}/files/mysql/goldsmith.cnf.tmpl"
    drop_in = "${local.root}/files/mysql/hardening.conf.tmpl"
    seed    = var.seed != "" ? var.seed : "${local.root}/files/mysql/seed.sql"
  }

  provisioner "goldsmith-webapp" {
    only   = ["goldsmith-ami.web"]
    binary = var.program != "" ? var.program : "${local.root}/.build/webapp-linux-${var.arch}"
    unit   = "${local.root}/files/systemd/goldsmith-webapp.service.tmpl"
  }

  provisioner "goldsmith-nginx" {
    only        = ["goldsmith-ami.web"]
    site        = "${local.root}/files/nginx/site.conf.tmpl"
    server_name = var.server_name
  }

  # Yours: whatever a proof has to show beside what it always shows.
  provisioner "goldsmith-tasks" {
    only = ["goldsmith-ami.web"]
    task {
      name = "the application is there"
      assert {
        shell = "test -x /usr/local/lib/goldsmith/webapp"
      }
    }
  }

  provisioner "goldsmith-seal" {
    secret_environment = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
  }

  post-processor "goldsmith-deploy" {
    enabled = var.deploy
    region  = var.region
    stack   = var.stack
  }
}
