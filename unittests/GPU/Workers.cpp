//===- Workers.cpp - tasks in processes of their own ----------------------===//
#include "Workers.h"

#include <cstring>
#include <map>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace {

struct Worker {
  size_t task;
  pid_t process;
  std::string rest; ///< of a line that is not complete
};

void writeAll(int to, const std::string &text) {
  for (size_t at = 0; at < text.size();) {
    ssize_t done = write(to, text.data() + at, text.size() - at);
    if (done <= 0)
      _exit(3);
    at += done;
  }
}

std::string reason(int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
    return "";
  if (WIFSIGNALED(status))
    return WTERMSIG(status) == SIGALRM ? "it took too long" : std::string("its process ended by ") + strsignal(WTERMSIG(status));
  return "its process ended with status " + std::to_string(WEXITSTATUS(status));
}

} // namespace

void fla::testing::runTasks(size_t count, unsigned jobs, unsigned limit,
                            llvm::function_ref<void(size_t, llvm::function_ref<void(const std::string &)>)> task,
                            llvm::function_ref<void(size_t, const std::string &)> onLine,
                            llvm::function_ref<void(size_t, const std::string &)> onEnd) {
  std::map<int, Worker> workers; // by where their lines come from
  size_t next = 0;
  auto start = [&] {
    int ends[2];
    if (pipe(ends) != 0)
      _exit(3);
    fflush(nullptr);
    pid_t process = fork();
    if (process == 0) {
      close(ends[0]);
      alarm(limit);
      task(next, [&](const std::string &line) { writeAll(ends[1], line + "\n"); });
      _exit(0);
    }
    close(ends[1]);
    workers[ends[0]] = {next++, process, ""};
  };
  auto read = [&](int from) {
    char bytes[4096];
    ssize_t size = ::read(from, bytes, sizeof bytes);
    Worker &worker = workers[from];
    if (size > 0) {
      worker.rest.append(bytes, size);
      for (size_t end; (end = worker.rest.find('\n')) != std::string::npos; worker.rest.erase(0, end + 1))
        onLine(worker.task, worker.rest.substr(0, end));
      return;
    }
    int status = 0;
    waitpid(worker.process, &status, 0);
    onEnd(worker.task, reason(status));
    close(from);
    workers.erase(from);
  };
  while (next < count || !workers.empty()) {
    while (next < count && workers.size() < jobs)
      start();
    std::vector<pollfd> waiting;
    for (auto &[from, worker] : workers)
      waiting.push_back({from, POLLIN, 0});
    poll(waiting.data(), waiting.size(), -1);
    for (const pollfd &one : waiting)
      if (one.revents)
        read(one.fd);
  }
}
