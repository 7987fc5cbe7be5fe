package ec2

// setState moves an instance on, and tells its group when it has ended. It is called from work that nobody waits for:
// that the state could not be written is told in the log, and the next start sees what is really there.
func (s *Instances) setState(id, state, reason string) {
	record, err := s.records.SetState(id, state, reason)
	if err != nil {
		s.log.Error("keep an instance's state", "instance", id, "state", state, "error", err)
	}
	if record.State == state && state != "pending" && state != "running" {
		s.gone(record)
	}
}
