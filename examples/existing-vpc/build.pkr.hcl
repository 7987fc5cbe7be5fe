# Both images, baked and proved in a VPC that is there already. See README.md.

packer {
  required_plugins {
    goldsmith = {
      source  = "github.com/goldsmith-ami/goldsmith"
      version = ">= 0.1.0"
    }
  }
}

variable "stack" {
  type        = string
  description = "The stack; stack.hcl names its VPC."
}

variable "region" {
  type        = string
  description = "The region of the VPC; empty takes AWS_REGION or the profile's."
  default     = ""
}

variable "arch" {
  type        = string
  description = "The processor of the images: amd64 or arm64."
  default     = "amd64"
  validation {
    condition     = contains(["amd64", "arm64"], var.arch)
    error_message = "The architecture arch should be amd64 or arm64."
  }
}

variable "subnet_id" {
  type        = string
  description = "The subnet to bake in; empty is the stack's public one."
  default     = ""
}

locals {
  root = "${path.root}/../.."
  time = formatdate("YYYYMMDD-hhmmss", timestamp())
  # What AWS has for each processor.
  machine = {
    amd64 = { architecture = "x86_64", instance_type = "t3.small" }
    arm64 = { architecture = "arm64", instance_type = "t4g.small" }
  }[var.arch]
}

# The ids of the stack's network. If something is missing, this names it before anything is launched.
data "goldsmith-network" "stack" {
  region = var.region
  stack  = var.stack
}

# By its id: one that is given, or the one that the data source found.
source "goldsmith-ami" "web" {
  region                      = var.region
  ami_name                    = "${var.stack}-web-${local.time}"
  instance_type               = local.machine.instance_type
  ssh_username                = "admin"
  subnet_id                   = var.subnet_id != "" ? var.subnet_id : data.goldsmith-network.stack.public_subnet_id
  associate_public_ip_address = true

  source_ami_filter {
    filters     = { name = "debian-13-${var.arch}-*", architecture = local.machine.architecture }
    owners      = ["136693071363"]
    most_recent = true
  }
  prove {
    stack   = var.stack
    tier    = "web"
    release = local.time
  }
}

# By a filter: any subnet of the VPC that has public addresses, the one with the most room.
source "goldsmith-ami" "db" {
  region        = var.region
  ami_name      = "${var.stack}-db-${local.time}"
  instance_type = local.machine.instance_type
  ssh_username  = "admin"

  subnet_filter {
    filters = {
      "vpc-id"                  = data.goldsmith-network.stack.vpc_id
      "map-public-ip-on-launch" = "true"
    }
    most_free = true
  }
  source_ami_filter {
    filters     = { name = "debian-13-${var.arch}-*", architecture = local.machine.architecture }
    owners      = ["136693071363"]
    most_recent = true
  }
  prove {
    stack   = var.stack
    tier    = "db"
    release = local.time
  }
}

build {
  sources = ["goldsmith-ami.web", "goldsmith-ami.db"]

  provisioner "goldsmith-mysql" {
    only    = ["goldsmith-ami.db"]
    config  = "${local.root}/files/mysql/goldsmith.cnf.tmpl"
    drop_in = "${local.root}/files/mysql/hardening.conf.tmpl"
    seed    = "${local.root}/files/mysql/seed.sql"
  }

  provisioner "goldsmith-webapp" {
    only   = ["goldsmith-ami.web"]
    binary = "${local.root}/.build/webapp-linux-${var.arch}"
    unit   = "${local.root}/files/systemd/goldsmith-webapp.service.tmpl"
  }

  provisioner "goldsmith-nginx" {
    only = ["goldsmith-ami.web"]
    site = "${local.root}/files/nginx/site.conf.tmpl"
  }

  provisioner "goldsmith-seal" {}
}
