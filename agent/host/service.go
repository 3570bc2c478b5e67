package host

// ServiceName is the agent's name among the system's services.
const ServiceName = "egovmon-agent"

// A Service is how the system is to run the agent.
type Service struct {
	Program string // absolute path of the agent's program
	Data    string // absolute path of its data folder
}

// A ServiceState is what the system says of the agent's service.
type ServiceState struct {
	Installed bool
	Running   bool
	AtBoot    bool   // it starts with the machine
	Detail    string // the system's own word
}
