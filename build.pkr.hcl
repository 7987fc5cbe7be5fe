# Both images, baked at the same time.

packer {
  required_plugins {
    goldsmith = {
      source  = "github.com/goldsmith-ami/goldsmith"
      version = ">= 0.1.0"
    }
  }
}

locals {
  time = formatdate("YYYYMMDD-hhmmss", timestamp())
  # What AWS has for each processor.
  machine = {
    amd64 = { architecture = "x86_64", instance_type = "t3.small" }
    arm64 = { architecture = "arm64", instance_type = "t4g.small" }
  }[var.arch]
}

source "goldsmith-ami" "base" {
  region        = var.region
  instance_type = var.instance_type != "" ? var.instance_type : local.machine.instance_type
  ssh_username  = var.ssh_username

  source_ami_filter {
    filters = {
      name         = var.base_ami_name != "" ? var.base_ami_name : "debian-13-${var.arch}-*"
      architecture = local.machine.architecture
    }
    owners      = [var.base_ami_owner]
    most_recent = true
  }

  # The stack's public subnet, which `goldsmith network up` made.
  subnet_filter {
    filters = {
      "tag:goldsmith:stack"  = var.stack
      "tag:goldsmith:subnet" = "public"
    }
  }
  associate_public_ip_address = true

  # A build whose inputs are those of an image that is there ends at once. Goldsmith's provisioners know theirs.
  unchanged {
    inputs  = ["${path.root}/build.pkr.hcl"]
    max_age = var.max_age
    force   = var.force
  }
}

build {
  source "goldsmith-ami.base" {
    name            = "db"
    ami_name        = "${var.ami_prefix}-db-${local.time}"
    ami_description = "Hardened MySQL for the private subnet"
    tags = {
      "goldsmith:stack" = var.stack
      "goldsmith:tier"  = "db"
    }
    prove {
      stack   = var.stack
      tier    = "db"
      release = local.time
    }
  }

  source "goldsmith-ami.base" {
    name            = "web"
    ami_name        = "${var.ami_prefix}-web-${local.time}"
    ami_description = "The web application behind Nginx for the public subnet"
    tags = {
      "goldsmith:stack" = var.stack
      "goldsmith:tier"  = "web"
    }
    prove {
      stack   = var.stack
      tier    = "web"
      release = local.time
    }
  }

  # First: the services are installed on a system that is closed already.
  provisioner "goldsmith-hardening" {
    only   = ["goldsmith-ami.db"]
    sshd   = "${path.root}/files/ssh/sshd.conf.tmpl"
    sysctl = "${path.root}/files/linux/sysctl.conf.tmpl"
  }

  provisioner "goldsmith-hardening" {
    only                 = ["goldsmith-ami.web"]
    sshd                 = "${path.root}/files/ssh/sshd.conf.tmpl"
    sysctl               = "${path.root}/files/linux/sysctl.conf.tmpl"
    allow_tcp_forwarding = true # the way to the db instance, which has no public address
  }

  provisioner "goldsmith-mysql" {
    only    = ["goldsmith-ami.db"]
    config  = "${path.root}/files/mysql/goldsmith.cnf.tmpl"
    drop_in = "${path.root}/files/mysql/hardening.conf.tmpl"
    seed    = "${path.root}/files/mysql/seed.sql"
  }

  provisioner "goldsmith-webapp" {
    only   = ["goldsmith-ami.web"]
    binary = "${path.root}/.build/webapp-linux-${var.arch}"
    unit   = "${path.root}/files/systemd/goldsmith-webapp.service.tmpl"
  }

  provisioner "goldsmith-nginx" {
    only = ["goldsmith-ami.web"]
    site = "${path.root}/files/nginx/site.conf.tmpl"
  }

  # Last: nothing that belongs to this build may be in the images.
  provisioner "goldsmith-seal" {
    manifest_dir = "${path.root}/.build/manifests"
  }

  # Of the two builds one deploys, when both images are released.
  post-processor "goldsmith-deploy" {
    enabled = var.deploy
    region  = var.region
    stack   = var.stack
  }
}
