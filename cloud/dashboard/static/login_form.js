// Signing in: the browser talks to the API itself, so that the session's cookie never meets a script.
export default {
  props: { next: String, site: String },
  data: () => ({ name: "", password: "", problem: "", busy: false }),
  mounted() { this.$refs.name.focus(); },
  methods: {
    async submit() {
      this.busy = true;
      this.problem = "";
      try {
        const answer = await fetch("/v1/sessions", {
          method: "POST", headers: { "Content-Type": "application/json" },
          body: JSON.stringify({ name: this.name, password: this.password }),
        });
        if (answer.ok) { window.location.assign(this.next); return; }
        const document = await answer.json().catch(() => ({}));
        this.problem = document.detail || `The server answered ${answer.status}.`;
      } catch { this.problem = "The server cannot be reached."; }
      this.password = "";
      this.busy = false;
      this.$nextTick(() => this.$refs.password.focus());
    },
  },
  template: `
    <main class="sl-login">
      <form class="sl-panel" @submit.prevent="submit">
        <div class="sl-login__brand">
          <svg class="sl-brand__mark" viewBox="0 0 32 32" aria-hidden="true">
            <path d="M3 9.500V5.500A2.500 2.500 0 0 1 5.500 3h4M22.500 3h4A2.500 2.500 0 0 1 29 5.500v4M29 22.500v4a2.500 2.500 0 0 1-2.500 2.500h-4M9.500 29h-4A2.500 2.500 0 0 1 3 26.500v-4" fill="none" stroke="currentColor" stroke-opacity=".5" stroke-width="2.400" stroke-linecap="round"/>
            <path d="m9 16.600 5 5.200L23.500 10.800" fill="none" stroke="#2fa56c" stroke-width="3.400" stroke-linecap="round" stroke-linejoin="round"/>
          </svg>
          <h1>Sightline</h1><span v-if="site" class="sl-muted">{{ site }}</span>
        </div>
        <label>Name<input ref="name" v-model="name" class="sl-input" autocomplete="username" required maxlength="64"></label>
        <label>Password<input ref="password" v-model="password" class="sl-input" type="password" autocomplete="current-password" required maxlength="200"></label>
        <p v-if="problem" class="sl-login__problem" role="alert"><i class="sl-sign sl-sign--alarm"></i>{{ problem }}</p>
        <button class="sl-button sl-button--primary" :disabled="busy">Sign in</button>
      </form>
    </main>`,
};
