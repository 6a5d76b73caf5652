"""From scratch: a diffusion model with nothing hidden, in plain torch.

Read in this order; each module imports only from those before it:

    noise_schedule  how much noise is added when: beta, alpha, alpha_bar
    diffusion       forward process, loss, posterior, DDPM, DDIM, guidance
    denoisers       the network eps_theta, and a case in which it is known exactly
    datasets        points in the plane
    metrics         do two clouds of points come from one distribution?
    plots           the pictures
    train_toy2d     run it: python -m from_scratch.train_toy2d
    draw_figures    the lesson's figures: python -m from_scratch.draw_figures
"""
